import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import type { Core } from "./cores.ts";
import type { HttpLoad, LoadAnswer, LoadQuestion } from "./load-http.ts";
import type { SocketLoad } from "./load-sockets.ts";
import type { Memory } from "./memory.ts";
import type { Side, Slice } from "./pace.ts";
import type { DatabaseReady } from "./servers/database.ts";
import type { HostSetup, Work } from "./servers/stateful-host.ts";

export interface Listening {
  readonly port: number;
}
export type Server = Child<Listening>;

/** The processes and files of a measure, or of one turn of it. */
export class Stage {
  readonly #folder: string;
  readonly #children: Child<unknown>[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Runs `work` on a stage of its own, which is closed whatever happens. */
  static async with<Result>(work: (stage: Stage) => Promise<Result>): Promise<Result> {
    const stage = new Stage(await mkdtemp(join(tmpdir(), "stateful-bench-")));
    try {
      return await work(stage);
    } finally {
      await stage.#close();
    }
  }

  async start<Ready>(entry: string, setup: object, core: Core): Promise<Child<Ready>> {
    const child = await Child.start<Ready>(entry, setup, core);
    this.#children.push(child);
    return child;
  }

  /** The last first: a load that loses its server takes that for a failure. */
  async #close(): Promise<void> {
    for (const child of this.#children.toReversed()) await child.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  // -- servers

  /** A host of ours. Hosts of one stage share a directory: an embedded file, unless another is given. */
  host(setup: Partial<HostSetup> = {}): Promise<Server> {
    const directoryUrl = `file:${join(this.#folder, "directory.db")}`;
    return this.start("servers/stateful-host.ts", { directoryUrl, runsClasses: true, ...setup }, "server");
  }

  /** An owner, and an edge that can only forward to it. The edge comes second: it knows the owner from its start. */
  async edgeAndOwner(): Promise<{ readonly edge: Server; readonly owner: Server }> {
    const owner = await this.host();
    return { owner, edge: await this.host({ runsClasses: false }) };
  }

  /** Until a host has heard of so many others. */
  async knowsOthers(host: Server, others: number): Promise<void> {
    while ((await healthOf(host)).hosts < 1 + others) await Bun.sleep(50);
  }

  plainElysia(): Promise<Server> {
    return this.start("servers/plain-elysia.ts", {}, "server");
  }

  plainBun(): Promise<Server> {
    return this.start("servers/plain-bun.ts", {}, "server");
  }

  /** A real libSQL server, on the core of the load. */
  database(): Promise<Child<DatabaseReady>> {
    return this.start("servers/database.ts", {}, "load");
  }

  // -- load

  /** HTTP load on `to`; the processor time is that of all `servers`. */
  async httpSide(load: Omit<HttpLoad, "port">, to: Server, servers: readonly Server[] = [to]): Promise<Side> {
    const child = await this.start<object>("load-http.ts", { ...load, port: to.ready.port }, "load");
    return sideOf(child, servers);
  }

  async socketSide(
    load: Omit<SocketLoad, "port">,
    to: Server,
    servers: readonly Server[] = [to],
  ): Promise<Side> {
    const child = await this.start<object>("load-sockets.ts", { ...load, port: to.ready.port }, "load");
    return sideOf(child, servers);
  }
}

export function memoryOf(server: Server): Promise<Memory> {
  return server.ask<Memory>({ ask: "memory" });
}

/** Of one of our hosts, finer than what the system tells. */
export function workOf(server: Server): Promise<Work> {
  return server.ask<Work>({ ask: "work" });
}

/** What a host says of itself: objects that are awake on it, and hosts that it knows to be alive. */
export async function healthOf({ ready: { port } }: Server) {
  const health = await fetch(`http://127.0.0.1:${port}/-/health`);
  return (await health.json()) as { readonly objects: number; readonly hosts: number }; // of infra/edge/system-routes.ts
}

/** A load process that is asked for one slice after the other, with the processor time of what it loads. */
export function sideOf(load: Child<unknown>, servers: readonly Child<unknown>[], details: object = {}): Side {
  const cpuMicros = () => servers.reduce((sum, server) => sum + (server.cpuMicros ?? Number.NaN), 0);
  return {
    async slice(ms): Promise<Slice> {
      const before = cpuMicros();
      const question: LoadQuestion = { ...details, forMs: ms };
      const { operations, elapsedMs } = await load.ask<LoadAnswer>(question);
      const used = cpuMicros() - before;
      return { operations, elapsedMs, cpuMicros: Number.isNaN(used) ? undefined : used };
    },
  };
}
