import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import type { LinkTarget } from "../../infra/link/link.ts";
import { HostLinkPool, type LinkPoolOptions } from "../../infra/link/link-pool.ts";
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

/** What becomes of a dial where the way between two hosts is cut: nobody answers, or somebody refuses at once. */
export type Cut = "silent" | "refused";

interface Cable extends MemoryTransportPair {
  readonly ends: string;
}

/** Hosts in one process on one clock, with a network that delays what it likes and can fail. */
export class LinkNetwork {
  readonly #clock: VirtualClock;
  readonly #delayMs: () => number;
  readonly #hosts = new Map<string, SimulatedHost>();
  readonly #cables: Cable[] = [];
  readonly #cuts = new Map<string, Cut>();

  constructor(clock: VirtualClock, delayMs: () => number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  /** All hosts, as a directory would show them. */
  get targets(): readonly LinkTarget[] {
    return [...this.#hosts.values()].map(({ target }) => target);
  }

  host(session: string, options: Partial<LinkPoolOptions> = {}): SimulatedHost {
    const clock = this.#clock;
    const handlers = new RecordingHandlers();
    const self = { session, hostId: `host-${session}`, region: "sim" };
    const pool = new HostLinkPool({
      ...{ clock, handlers, log: silentLog, self: () => self, random: () => 0.5 },
      secret: new LinkSecret(["a secret of a simulation"], clock),
      dial: (...args) => this.#dial(host, ...args),
      ...options,
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

  /** What two hosts have between them goes silent at both ends, and neither reaches the other any more. */
  cut(one: SimulatedHost, other: SimulatedHost, how: Cut = "silent"): void {
    const ends = endsOf(one, other);
    this.#cuts.set(ends, how);
    for (const cable of this.#cables) if (cable.ends === ends) cable.cut();
  }

  heal(one: SimulatedHost, other: SimulatedHost): void {
    this.#cuts.delete(endsOf(one, other));
  }

  /** A host that is gone without a word. */
  kill(host: SimulatedHost): void {
    for (const other of this.#hosts.values()) if (other !== host) this.cut(host, other);
  }

  async #dial(from: SimulatedHost, ...[url, headers, signal]: Parameters<Dial>): ReturnType<Dial> {
    await this.#travel();
    const to = this.#hosts.get(url);
    const cut = to && this.#cuts.get(endsOf(from, to));
    if (cut === "refused") throw new StatefulError("owner_unreachable", "nobody listens");
    if (from.isLost || to === undefined || cut !== undefined) {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new StatefulError("owner_unreachable", "given up");
    }
    const accepted = to.pool.accept(new Request(url, { headers: headers() }));
    if (accepted instanceof StatefulError) {
      await this.#travel();
      throw accepted;
    }
    const cable = memoryTransportPair(this.#clock, { delayMs: this.#delayMs });
    this.#cables.push({ ...cable, ends: endsOf(from, to) });
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

function endsOf(one: SimulatedHost, other: SimulatedHost): string {
  return [one.target.session, other.target.session].sort().join(" ");
}
