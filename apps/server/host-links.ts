import { nanoid } from "nanoid";
import type { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { forwardPurpose, publishPost } from "../../infra/edge/forward-protocol.ts";
import { ServedEvent } from "../../infra/edge/forward-server.ts";
import { LinkEdge } from "../../infra/edge/served-socket.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import type { Leases } from "../../infra/lease/leases.ts";
import { processOfSession } from "../../infra/lease/session-id.ts";
import type { CancelTimer, Clock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Log } from "../../infra/lib/log.ts";
import { delayedTransport } from "../../infra/link/delayed-transport.ts";
import type { Channel, ChannelHandlers, Link, LinkHandlers } from "../../infra/link/link.ts";
import { HostLinkPool } from "../../infra/link/link-pool.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import { decodePublish } from "../../infra/topics/publish-frame.ts";
import type { ServerConfig } from "./config.ts";

export interface HostLinksSetup {
  readonly config: ServerConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly leases: Leases;
  readonly table: ActivationTable;
  readonly sockets: EdgeSockets;
}

/** A host that the directory has not shown alive for this long, beyond its lease, gets its links closed. */
const goneGraceMs = 30_000;

/**
 * Joins the links of a host to what it serves through them. A link joins two processes, whatever sessions they are in: a
 * host that loses its session to a directory that is away, and opens the next, keeps its links and the sockets on them.
 */
export class HostLinks implements LinkHandlers {
  readonly pool: HostLinkPool;
  /** Publishes sent to other edges since the start: one for each edge with subscribers. */
  publishFramesSent = 0;
  readonly #setup: HostLinksSetup;
  readonly #edges = new WeakMap<Link, LinkEdge>();
  /** Processes that the directory shows no more, until their grace is over. */
  readonly #leaving = new Map<string, CancelTimer>();

  constructor(setup: HostLinksSetup) {
    const { config, clock, log, leases } = setup;
    const [current = nanoid(32), other] = config.clusterSecrets;
    const { simulatedDelayMs } = config;
    this.#setup = setup;
    this.pool = new HostLinkPool({
      self: () => ({
        session: processOfSession(leases.session.id),
        hostId: config.hostId,
        region: config.region,
      }),
      secret: new LinkSecret(other === undefined ? [current] : [current, other], clock),
      handlers: this,
      clock,
      log,
      ...(simulatedDelayMs && {
        wrap: (transport, peer) => delayedTransport(transport, clock, () => simulatedDelayMs(peer.region)),
      }),
    });
  }

  channel(channel: Channel, purpose: string, head: unknown): ChannelHandlers {
    if (purpose !== forwardPurpose) {
      throw new StatefulError(
        "bad_request",
        `This version does not know channels for "${purpose.slice(0, 40)}".`,
      );
    }
    return new ServedEvent(channel, head, this.#setup.table, this.#edgeOf(channel.link));
  }

  post(_: Link, kind: number, payload: Uint8Array): void {
    if (kind !== publishPost) return; // A later version's message: nothing here depends on it.
    const { objectKey, topic, message, exceptSocketId } = decodePublish(payload);
    this.#setup.sockets.publish(objectKey, topic, message, exceptSocketId);
  }

  /** The link to a host. */
  to(host: HostRecord): Promise<Link> {
    return this.pool.to({ ...host, session: processOfSession(host.session) });
  }

  /** The measured round trip, where a link is open. */
  roundTripMs(host: HostRecord): number | undefined {
    return this.pool.peek(processOfSession(host.session))?.roundTripMs;
  }

  /** Hosts that are gone need no link; but whoever only lost its session is back in a moment. */
  hostsChanged(hosts: readonly HostRecord[], gone: readonly HostRecord[]): void {
    for (const { session } of gone) this.#leaves(processOfSession(session));
    for (const { session } of hosts) this.#stays(processOfSession(session));
  }

  async close(): Promise<void> {
    for (const cancel of this.#leaving.values()) cancel();
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

  #edgeOf(link: Link): LinkEdge {
    const known = this.#edges.get(link);
    if (known) return known;
    const edge = new LinkEdge(link, () => this.publishFramesSent++);
    this.#edges.set(link, edge);
    return edge;
  }
}
