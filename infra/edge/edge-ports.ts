import { nanoid } from "nanoid";
import type { EdgeEvents, EdgeName, EdgePort, EdgePorts, OwnerFacts } from "../host/edge-port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Link } from "../link/link.ts";
import type { EdgeSockets } from "./edge-sockets.ts";
import { LocalEdge } from "./local-edge.ts";
import { edgeGone, ServedEdge, type ServedEdgeSetup } from "./served-edge.ts";

/** The ways to other hosts, by their processes. */
export interface ProcessLinks {
  /** The open link, without dialling. */
  peek(process: string): Link | undefined;
  /** Rejects where the process is not among those alive, or there is no link and none can be had. */
  toProcess(process: string): Promise<Link>;
  /** The version of the links in which the process is spoken to: of the open link, or what is to be expected. */
  versionOf(process: string): number;
  /** Whether the directory shows the process no more, though it was there to ask all the time. */
  isGone(process: string): boolean;
}

export interface HostEdgePortsSetup {
  readonly clock: Clock;
  readonly sockets: EdgeSockets;
  /** This host as an edge. */
  readonly self: () => EdgeName;
  readonly links: () => ProcessLinks;
}

/** Attachments whose sockets were given up are remembered, so that an edge which comes back to one closes them: so many, so long. */
export const buriedMax = 16_384;
export const buriedForMs = 120_000;

/** All attachments of this host's objects, to its own edge and to others. */
export class HostEdgePorts implements EdgePorts {
  /** Publishes sent to other edges since the start: one for each edge with subscribers. */
  publishFramesSent = 0;
  readonly #setup: HostEdgePortsSetup;
  readonly #served: ServedEdgeSetup;
  readonly #interrupted = new Set<ServedEdge>();
  /** Attachments and when they were given up, in that order. */
  readonly #buried = new Map<string, number>();

  constructor(setup: HostEdgePortsSetup) {
    this.#setup = setup;
    this.#served = {
      clock: setup.clock,
      isGone: (process) => setup.links().isGone(process),
      versionOf: (process) => setup.links().versionOf(process),
      interrupted: (port, isInterrupted) => {
        if (isInterrupted) this.#interrupted.add(port);
        else this.#interrupted.delete(port);
      },
      buried: ({ id }) => this.#bury(id),
      countPublish: () => this.publishFramesSent++,
    };
  }

  get self(): EdgeName {
    return this.#setup.self();
  }

  to(edge: EdgeName, facts: OwnerFacts, cursors: ReadonlyMap<number, number>, events: EdgeEvents): EdgePort {
    const { sockets, self } = this.#setup;
    if (edge.process !== self().process) return this.#toOther(edge, facts, cursors, events);
    const held = sockets.heldOf(facts.ref);
    const publish = sockets.publisherOf(facts.ref.key);
    const local = new LocalEdge({ edge, facts, events, held, id: nanoid(), cursors, publish });
    local.begin();
    return local;
  }

  #toOther(
    edge: EdgeName,
    facts: OwnerFacts,
    cursors: ReadonlyMap<number, number>,
    events: EdgeEvents,
  ): ServedEdge {
    const links = this.#setup.links();
    const port = this.unopened(edge, facts, cursors, events);
    const link = links.peek(edge.process);
    // In this call, where that can be: then what is said next on the same link comes after it.
    if (link) open(port, link);
    else {
      this.#interrupted.add(port); // Its host may be gone before a dial says so.
      links.toProcess(edge.process).then(
        (dialled) => open(port, dialled),
        () => this.#notDialled(port),
      );
    }
    return port;
  }

  /** For an edge that has opened a channel itself. */
  unopened(
    edge: EdgeName,
    facts: OwnerFacts,
    cursors: ReadonlyMap<number, number>,
    events: EdgeEvents,
  ): ServedEdge {
    return new ServedEdge(this.#served, nanoid(), { edge, facts, cursors, events });
  }

  /** The edge may still come by itself, unless it is gone. */
  #notDialled(port: ServedEdge): void {
    if (this.#setup.links().isGone(port.edge.process)) port.lost(edgeGone());
    else if (!port.isOver && !port.isReachable) this.#interrupted.add(port);
  }

  /** Processes that are gone: what waits for them waits in vain. */
  edgesGone(processes: ReadonlySet<string>): void {
    for (const port of [...this.#interrupted]) if (processes.has(port.edge.process)) port.lost(edgeGone());
  }

  /** Whether that attachment's sockets were given up. */
  isBuried(id: string): boolean {
    return this.#buried.has(id);
  }

  #bury(id: string): void {
    const nowMs = this.#setup.clock.monotonicMs();
    this.#buried.set(id, nowMs);
    for (const [oldest, sinceMs] of this.#buried) {
      if (this.#buried.size <= buriedMax && nowMs - sinceMs < buriedForMs) return;
      this.#buried.delete(oldest);
    }
  }
}

function open(port: ServedEdge, link: Link): void {
  try {
    port.open(link);
  } catch {
    // The link has ended, or takes no more: the edge comes by itself, or is given up in the end.
  }
}
