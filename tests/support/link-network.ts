import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import type { LinkTarget } from "../../infra/link/link.ts";
import { HostLinkPool } from "../../infra/link/link-pool.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import { type MemoryTransportPair, memoryTransportPair } from "../../infra/link/memory-transport.ts";
import type { Dial } from "../../infra/link/websocket-transport.ts";
import { RecordingHandlers } from "./link-pair.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export interface SimulatedHost {
  readonly pool: HostLinkPool;
  readonly handlers: RecordingHandlers;
  readonly target: LinkTarget;
  /** Dials of this host vanish: neither answered nor refused. */
  isLost: boolean;
}

/** Hosts in one process on one clock, with a network that delays what it likes and can fail. */
export class LinkNetwork {
  readonly #clock: VirtualClock;
  readonly #delayMs: () => number;
  readonly #hosts = new Map<string, SimulatedHost>();
  readonly #cables: MemoryTransportPair[] = [];

  constructor(clock: VirtualClock, delayMs: () => number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  host(session: string): SimulatedHost {
    const clock = this.#clock;
    const handlers = new RecordingHandlers();
    const self = { session, hostId: `host-${session}`, region: "sim" };
    const pool = new HostLinkPool({
      ...{ clock, handlers, log: silentLog, self: () => self, random: () => 0.5 },
      secret: new LinkSecret(["a secret of a simulation"], clock),
      dial: (...args) => this.#dial(host, ...args),
    });
    const host: SimulatedHost = {
      pool,
      handlers,
      target: { ...self, privateUrl: `http://${session}` },
      isLost: false,
    };
    this.#hosts.set(`http://${session}/-/link`, host);
    return host;
  }

  /** Every connection there is goes silent at both ends. */
  cutAll(): void {
    for (const cable of this.#cables.splice(0)) cable.cut();
  }

  async #dial(from: SimulatedHost, ...[url, headers, signal]: Parameters<Dial>): ReturnType<Dial> {
    await this.#travel();
    const to = this.#hosts.get(url);
    if (from.isLost || to === undefined) {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new StatefulError("owner_unreachable", "given up");
    }
    const accepted = to.pool.accept(new Request(url, { headers: headers() }));
    if (accepted instanceof StatefulError) {
      await this.#travel();
      throw accepted;
    }
    const cable = memoryTransportPair(this.#clock, { delayMs: this.#delayMs });
    this.#cables.push(cable);
    accepted.open({
      send: (message) => (cable.right.send(message) ? message.byteLength : 0),
      getBufferedAmount: () => 0,
      close: () => cable.right.close(),
      terminate: () => cable.right.abort(),
    });
    cable.right.start({
      message: (message) => accepted.message(message),
      closed: (reason) => accepted.close(1000, reason),
    });
    await this.#travel();
    if (signal.aborted) cable.left.abort();
    return cable.left;
  }

  #travel(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(this.#delayMs(), resolve);
    });
  }
}
