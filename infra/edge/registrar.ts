import type { EdgeName, EdgePorts } from "../host/edge-port.ts";
import type { ObjectEdges } from "../host/object-edges.ts";
import type { ObjectTable } from "../host/object-table.ts";
import type { HostRecord } from "../lease/directory.ts";
import { type Clock, sleep, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Link } from "../link/link.ts";
import type { RegistrationAnswer } from "./channel-line.ts";
import type { EdgeSockets } from "./edge-sockets.ts";
import { acceptTimeoutMs } from "./forward-client.ts";
import type { HeldSockets } from "./held-sockets.ts";
import { areBuried } from "./socket-protocol.ts";
import { OwnerSearch, type SearchSetup, type Taking } from "./owner-search.ts";

export interface RegistrarSetup {
  readonly search: SearchSetup;
  readonly links: { to(host: HostRecord): Promise<Link> };
  readonly sockets: EdgeSockets;
  readonly ports: EdgePorts & { readonly self: EdgeName };
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** How long a lost owner's lease may still run. */
  readonly leaseTtlMs: number;
}

/** Between two searches for one object's owner: the first pause, doubled up to the last; drawn from the upper half of that. */
export const seekPauseMinMs = 100;
export const seekPauseMaxMs = 1000;
/** Searches at once: a host that dies may own tens of thousands of objects with sockets here. */
export const seeksMax = 64;
/** While an owner is sought, who is alive is asked this often: a crash is noticed soon after the lease has run out. */
export const seekRefreshMs = 250;
/** Beyond the lease time; then the sockets are closed. */
export const reattachGraceMs = 30_000;
/** Hosts that are asked in one search. */
const offersMax = 8;

/** Finds the next owner for the sockets of objects that lost theirs, and has it attached. */
export class Registrar {
  readonly #setup: RegistrarSetup;
  readonly #sought = new Set<HeldSockets>();
  /** Those that wait for a free place among the searches. */
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #wake = new AbortController();
  #isRefreshing = false;
  #isStopped = false;

  constructor(setup: RegistrarSetup) {
    this.#setup = setup;
  }

  /** How long sockets wait for an owner. */
  get reattachLimitMs(): number {
    return this.#setup.leaseTtlMs + reattachGraceMs;
  }

  /** Goes on until the object is attached, or its sockets are gone, or too much time has passed. */
  seek(held: HeldSockets): void {
    if (this.#sought.has(held) || this.#isStopped) return;
    this.#sought.add(held);
    void this.#refreshWhileSought();
    void this.#seek(held);
  }

  /** Who is alive has changed: nobody waits for a pause to end. */
  hostsChanged(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  stop(): void {
    this.#isStopped = true;
    this.hostsChanged();
    for (const enter of this.#queue.splice(0)) enter();
  }

  async #seek(held: HeldSockets): Promise<void> {
    const { clock, random, log } = this.#setup;
    // In a turn of its own: whoever lost the owner is in the middle of something.
    await sleep(clock, 0);
    let last: StatefulError | undefined;
    for (let attempt = 0; !this.#isStopped; attempt++) {
      const { loss } = held;
      if (loss === undefined) break;
      if (clock.monotonicMs() - loss.sinceMs > this.reattachLimitMs) return this.#giveUp(held, last);
      try {
        await this.#inTurn(() => this.#attempt(held));
      } catch (thrown) {
        last = asStatefulError(thrown);
        if (areBuried(last)) return this.#giveUp(held, last);
        log.debug("sockets.unattached", { object: held.ref.key, error: last });
      }
      if (!held.isLost) break;
      const pauseMs = Math.min(seekPauseMinMs * 2 ** attempt, seekPauseMaxMs);
      await sleep(clock, pauseMs * (0.5 + random() / 2), this.#wake.signal);
    }
    // In the very turn of the last look: an owner that is lost right after it was found is sought anew.
    this.#sought.delete(held);
  }

  /** One search, from what this edge knows to whoever takes the sockets. */
  async #attempt(held: HeldSockets): Promise<void> {
    const { search: setup, clock } = this.#setup;
    const search = new OwnerSearch(setup, held.ref, taking(setup.table, held));
    const late = () => new StatefulError("directory_unavailable", "The search took too long.");
    for (let offers = 0; offers < offersMax && held.isLost; offers++) {
      const location = await withTimeLimit(clock, acceptTimeoutMs, search.next(), late);
      if (!held.isLost) return;
      if (location.kind === "here") return this.#attachHere(location.here);
      const link = await this.#setup.links.to(location.host).catch((thrown) => asStatefulError(thrown));
      if (link instanceof StatefulError) search.unreachable(location, link);
      else if (held.isLost) {
        const answer = await this.#offer(link, held, location.intent);
        if (answer.kind === "attached") return;
        if (answer.kind === "lost") search.unreachable(location, answer.error);
        else search.refused(location, answer.refusal.error, answer.refusal.owner);
      }
    }
  }

  /** The clients are told to connect again; the log says why nobody has taken their sockets. */
  #giveUp(held: HeldSockets, error: StatefulError | undefined): void {
    this.#setup.log.warn("sockets.given_up", { object: held.ref.key, sockets: held.size, error });
    this.#sought.delete(held);
    held.giveUp();
  }

  #attachHere(edges: ObjectEdges): void {
    const { ports } = this.#setup;
    edges.attach(ports.self, (events, facts) => ports.to(ports.self, facts, new Map(), events)).expectRoll();
  }

  async #offer(link: Link, held: HeldSockets, intent: "own" | "place"): Promise<RegistrationAnswer> {
    const { sockets, clock } = this.#setup;
    const { answer, callOff } = sockets.register(link, held, intent);
    const cancel = clock.after(acceptTimeoutMs, () =>
      callOff(new StatefulError("outcome_unknown", "The host has neither taken nor refused the sockets.")),
    );
    return answer.finally(cancel);
  }

  /** Bounded: the rest waits for its turn. */
  async #inTurn(attempt: () => Promise<void>): Promise<void> {
    while (this.#running >= seeksMax) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#running++;
    try {
      if (!this.#isStopped) await attempt();
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }

  async #refreshWhileSought(): Promise<void> {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    const { clock, search } = this.#setup;
    while (this.#sought.size > 0 && !this.#isStopped) {
      await search.refreshHosts();
      await sleep(clock, seekRefreshMs, this.#wake.signal);
    }
    this.#isRefreshing = false;
  }
}

/** The object's edges, wherever it is; it is not started for that. */
function taking(table: ObjectTable, held: HeldSockets): Taking<ObjectEdges> {
  const { ref } = held;
  return {
    live: () => table.live(ref.key)?.edges,
    take: (when) => table.claim(ref, when, held.registration("own").isAsleep),
  };
}
