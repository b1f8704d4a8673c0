import { nanoid } from "nanoid";
import type { HostEdgePorts, ProcessLinks } from "../../infra/edge/edge-ports.ts";
import type { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { forwardPurpose } from "../../infra/edge/forward-protocol.ts";
import { ServedEvent } from "../../infra/edge/forward-server.ts";
import { movePurpose, ServedMove } from "../../infra/edge/move-channel.ts";
import type { OwnedObjects } from "../../infra/edge/owner-calls.ts";
import { ServedOwnerCall } from "../../infra/edge/owner-channel.ts";
import { ownerPurpose } from "../../infra/edge/owner-protocol.ts";
import { ServedRegistration } from "../../infra/edge/served-registration.ts";
import { decodeAttachmentHead, socketsPurpose } from "../../infra/edge/socket-protocol.ts";
import type { EdgeName } from "../../infra/host/edge-port.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import type { Leases } from "../../infra/lease/leases.ts";
import { processOfSession } from "../../infra/lease/session-id.ts";
import { type CancelTimer, type Clock, sleep } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Log } from "../../infra/lib/log.ts";
import { commonVersion, firstVersionOnly, type VersionRange } from "../../infra/lib/version-range.ts";
import { versionMismatch } from "../../infra/link/link-versions.ts";
import { delayedTransport } from "../../infra/link/delayed-transport.ts";
import type { Channel, ChannelHandlers, Link, LinkHandlers, LinkTarget } from "../../infra/link/link.ts";
import { HostLinkPool } from "../../infra/link/link-pool.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import type { Dial } from "../../infra/link/websocket-transport.ts";
import type { ServerConfig } from "./config.ts";

export interface HostLinksSetup {
  readonly config: ServerConfig;
  /** Of the links, that this host speaks. */
  readonly versions: VersionRange;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: WebSockets. */
  readonly dial: Dial | undefined;
  readonly leases: Leases;
  readonly table: ActivationTable;
  readonly sockets: EdgeSockets;
  readonly ports: HostEdgePorts;
  /** Once the host runs. */
  readonly objects: () => OwnedObjects;
  /** Asks the directory which hosts are alive, unless that was done a moment ago. */
  /** Whether the directory has answered. */
  readonly refreshHosts: () => Promise<boolean>;
  /** The sessions of these processes ran out while this host's own did not: whatever they say, they own nothing any more. */
  readonly processesGone: (processes: ReadonlySet<string>) => void;
}

/** A host that the directory has not shown alive for this long, beyond its lease, gets its links closed. */
const goneGraceMs = 30_000;
/** Between two looks for a host that nobody here has heard of: longer than what one of them is good for. */
const newHostPauseMs = 750;
/** How long one that has said goodbye may still answer after its session is over; longer than `STATEFUL_LAME_DUCK_MS`. */
const farewellMs = 5000;

/** Kinds of posts. 1 was a publish, in an earlier version. */
const leavingPost = 2;
const leftPost = 3;
const nothing = new Uint8Array();

/**
 * Joins the links of a host to what it serves through them. A link joins two processes, whatever sessions they are in: a
 * host that loses its session to a directory that is away, and opens the next, keeps its links and the sockets on them.
 */
export class HostLinks implements LinkHandlers, ProcessLinks {
  readonly pool: HostLinkPool;
  readonly #setup: HostLinksSetup;
  /** Processes that the directory shows no more, until their grace is over. */
  readonly #leaving = new Map<string, CancelTimer>();
  /** Processes that have said that they leave. */
  readonly #goodbyes = new Set<string>();
  /** What is done about those once they have had the time to answer. */
  readonly #farewells = new Set<CancelTimer>();
  /** Processes that speak other versions, which the log has been told. */
  readonly #mismatched = new Set<string>();
  readonly #closed = new AbortController();
  #channelsTaken = 0;
  /** When this host's own session began, unless it is its first. Infinite while it has none. */
  #sessionSinceMs = Number.NEGATIVE_INFINITY;

  constructor(setup: HostLinksSetup) {
    const { config, clock, log, leases, dial } = setup;
    const [current = nanoid(32), other] = config.clusterSecrets;
    const { simulatedDelayMs } = config;
    this.#setup = setup;
    this.pool = new HostLinkPool({
      self: () => ({
        session: processOfSession(leases.session.id),
        hostId: config.hostId,
        region: config.region,
      }),
      secret: new LinkSecret(other === undefined ? [current] : [current, other], clock, setup.versions),
      handlers: this,
      hosts: () => leases.hosts.map(targetOf),
      clock,
      log,
      limits: { heartbeatMs: config.heartbeatMs },
      ...(dial && { dial }),
      ...(simulatedDelayMs && {
        wrap: (transport, peer) => delayedTransport(transport, clock, () => simulatedDelayMs(peer.region)),
      }),
    });
  }

  /** Publishes sent to other edges since the start: one for each edge with subscribers. */
  get publishFramesSent(): number {
    return this.#setup.ports.publishFramesSent;
  }

  channel(channel: Channel, purpose: string, head: unknown): ChannelHandlers {
    const { table, ports } = this.#setup;
    this.#channelsTaken += 1;
    if (purpose === forwardPurpose) return new ServedEvent(channel, head, table, ports);
    if (purpose === socketsPurpose) return this.#attachment(channel, head);
    if (purpose === movePurpose) return this.#move(channel, head);
    if (purpose === ownerPurpose) return new ServedOwnerCall(channel, head, table, this.#setup.objects());
    const message = `This version does not know channels for "${purpose.slice(0, 40)}".`;
    throw new StatefulError("bad_request", message);
  }

  #attachment(channel: Channel, value: unknown): ChannelHandlers {
    const { table, ports, sockets } = this.#setup;
    const head = decodeAttachmentHead(value);
    if (head.opener === "owner") return sockets.ownerChannel(channel, head);
    return new ServedRegistration(channel, head, { table, ports });
  }

  #move(channel: Channel, head: unknown): ChannelHandlers {
    const { table, config } = this.#setup;
    const reach = (edges: readonly EdgeName[]) => {
      for (const { process } of edges) this.toProcess(process).catch(ignore);
    };
    return new ServedMove(channel, head, { arrivals: table.arrivals, codeVersion: config.version, reach });
  }

  post(link: Link, kind: number): void {
    if (kind === leavingPost) this.#goodbyes.add(link.peer.session);
    else if (kind === leftPost) void this.#setup.refreshHosts();
    // Anything else is a later version's message: nothing here depends on it.
  }

  /** This host goes away in order, and is about to hand its session back: what it was sent it will still answer. */
  sayLeaving(): void {
    for (const link of this.pool.links()) link.post(leavingPost, nothing);
  }

  /** It has handed it back: nobody should ask here any more. */
  sayLeft(): void {
    for (const link of this.pool.links()) link.post(leftPost, nothing);
  }

  /** Conversations that other hosts have begun here. */
  get channelsTaken(): number {
    return this.#channelsTaken;
  }

  /** The link to a host. Rejects with `version_mismatch` where the directory says that the two have no version in common. */
  to(host: HostRecord): Promise<Link> {
    const mismatch = this.#mismatchWith(host);
    if (mismatch === undefined) return this.pool.to(targetOf(host));
    const process = processOfSession(host.session);
    if (!this.#mismatched.has(process)) {
      this.#mismatched.add(process);
      this.#setup.log.warn("link.version_mismatch", {
        host: host.hostId,
        region: host.region,
        error: mismatch,
      });
    }
    return Promise.reject(mismatch);
  }

  #mismatchWith({ linkVersions = firstVersionOnly }: HostRecord): StatefulError | undefined {
    return versionMismatch(linkVersions, this.#setup.versions);
  }

  /**
   * The version in which a host is spoken to: of the open link to it, or what the directory lets expect. Of a host that nobody
   * has heard of yet it is the newest, because it has come since.
   */
  versionOf(process: string): number {
    const open = this.pool.peek(process);
    if (open) return open.version;
    const { versions } = this.#setup;
    const host = this.#hostOf(process);
    return (host && commonVersion(host.linkVersions ?? firstVersionOnly, versions)) ?? versions.newest;
  }

  peek(process: string): Link | undefined {
    return this.pool.peek(process);
  }

  async toProcess(process: string): Promise<Link> {
    const open = this.pool.peek(process);
    if (open) return open;
    const host = this.#hostOf(process) ?? (await this.#newHost(process));
    return this.to(host);
  }

  #hostOf(process: string): HostRecord | undefined {
    return this.#setup.leases.hosts.find(({ session }) => processOfSession(session) === process);
  }

  /** One of which this host has not heard: it has just come, or it has come and gone again in between. */
  async #newHost(process: string): Promise<HostRecord> {
    const { refreshHosts, clock } = this.#setup;
    await refreshHosts();
    // An answer may be as old as the last that was asked for.
    if (!this.#hostOf(process)) await sleep(clock, newHostPauseMs, this.#closed.signal);
    const isAnswered = await refreshHosts();
    const host = this.#hostOf(process);
    if (host) return host;
    if (isAnswered && !this.#closed.signal.aborted && !this.#leaving.has(process)) this.#leaves(process);
    throw new StatefulError("owner_unreachable", "The host is not among those alive.");
  }

  isGone(process: string): boolean {
    return this.#leaving.has(process) && this.#isSettled;
  }

  /** A directory that was away ends every session: until all hosts have had the time to open the next, nobody is missed. */
  get #isSettled(): boolean {
    const { clock, config } = this.#setup;
    return clock.monotonicMs() - this.#sessionSinceMs > config.leaseTtlMs;
  }

  /** This host's own session. The hosts that the next one finds are told before it counts as open. */
  sessionOver(): void {
    this.#sessionSinceMs = Number.POSITIVE_INFINITY;
  }
  sessionOpened(): void {
    this.#sessionSinceMs = this.#setup.clock.monotonicMs();
  }

  /** By which other host, if any, the open link to a host is relayed; and why there can be none, where versions stand against it. */
  pathTo(host: HostRecord): { readonly via: string | undefined; readonly whyNot: string | undefined } {
    const via = this.pool.peek(processOfSession(host.session))?.through?.hostId;
    return { via, whyNot: this.#mismatchWith(host)?.message };
  }

  /** The measured round trip, where a link is open. */
  roundTripMs(host: HostRecord): number | undefined {
    return this.pool.peek(processOfSession(host.session))?.roundTripMs;
  }

  /** Hosts that are gone need no link; but whoever only lost its session is back in a moment. */
  hostsChanged(hosts: readonly HostRecord[], gone: readonly HostRecord[]): void {
    for (const { session } of gone) {
      this.#leaves(processOfSession(session));
      this.#mismatched.delete(processOfSession(session));
    }
    for (const { session } of hosts) this.#stays(processOfSession(session));
    const processes = gone.map(({ session }) => processOfSession(session));
    const missed = processes.filter((process) => this.isGone(process));
    const inOrder = new Set(missed.filter((process) => this.#goodbyes.has(process)));
    const lost = new Set(missed.filter((process) => !inOrder.has(process)));
    if (lost.size > 0) this.#setup.processesGone(lost);
    if (inOrder.size > 0) this.#missLater(inOrder);
  }

  /** They still answer what they were sent: with that, or with whom to ask. */
  #missLater(processes: ReadonlySet<string>): void {
    const cancel = this.#setup.clock.after(farewellMs, () => {
      this.#farewells.delete(cancel);
      for (const process of processes) this.#goodbyes.delete(process);
      this.#setup.processesGone(processes);
    });
    this.#farewells.add(cancel);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const cancel of [...this.#leaving.values(), ...this.#farewells]) cancel();
    await this.pool.close();
  }

  #leaves(process: string): void {
    this.#stays(process);
    const cancel = this.#setup.clock.after(goneGraceMs, () => {
      this.#leaving.delete(process);
      const alive = this.#setup.leases.hosts.map(({ session }) => processOfSession(session));
      this.pool.retain(new Set([...alive, ...this.#leaving.keys()]));
    });
    this.#leaving.set(process, cancel);
  }

  #stays(process: string): void {
    this.#leaving.get(process)?.();
    this.#leaving.delete(process);
  }
}

function targetOf(host: HostRecord): LinkTarget {
  return { ...host, session: processOfSession(host.session) };
}

function ignore(): void {
  // Whoever needs the link later finds out.
}
