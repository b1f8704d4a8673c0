import { HostEdgePorts } from "../../infra/edge/edge-ports.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { anyAddress } from "./any-address.ts";
import type { HeldSockets } from "../../infra/edge/held-sockets.ts";
import { ServedRegistration } from "../../infra/edge/served-registration.ts";
import { decodeAttachmentHead } from "../../infra/edge/socket-protocol.ts";
import type {
  EdgeEvents,
  EdgeName,
  EdgePort,
  LastWord,
  SocketRecord,
  UpgradeHead,
} from "../../infra/host/edge-port.ts";
import type { ObjectEdges } from "../../infra/host/object-edges.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { LinkHandlers } from "../../infra/link/link.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { LinkConnection } from "../../infra/link/link-connection.ts";
import { linkLimits } from "../../infra/link/link-limits.ts";
import { type MemoryTransportPair, memoryTransportPair } from "../../infra/link/memory-transport.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { FakeClient } from "./fake-client.ts";
import { helloOf } from "./link-pair.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const ref = objectRef("room", "a");
const head: UpgradeHead = {
  kind: "websocket",
  url: "http://x/room/a/live",
  target: "/room/a/live",
  headers: [],
};

/** What an owner was told, one line for each. */
export type Told = readonly [event: string, ...unknown[]];

/** An owner's end that notes what it is told, and does what a test says. */
export class FakeOwner implements EdgeEvents {
  readonly process: string;
  readonly epoch: number;
  readonly told: Told[] = [];
  readonly records = new Map<number, SocketRecord>();
  readonly taken: Map<number, number>;
  readonly ports: HostEdgePorts;
  readonly #rig: EdgeRig;
  /** Says of each message at once that it is handled. */
  acknowledges = true;
  echoes = false;
  redeliver = false;
  autoResponse: { request: string; response: string } | undefined;
  port: EdgePort | undefined;
  /** What the host's table gives the next edge that registers, of an object that ends before the edge is attached. */
  ending: ObjectEdges | undefined;
  /** How often an edge has asked for it. */
  claims = 0;
  /** Why the host's table gives it nothing. */
  refusal: StatefulError | undefined;
  lostBecause: StatefulError | undefined;

  constructor(rig: EdgeRig, process: string, epoch: number, taken: ReadonlyMap<number, number>) {
    this.#rig = rig;
    this.process = process;
    this.epoch = epoch;
    this.taken = new Map(taken);
    this.ports = new HostEdgePorts({
      clock: rig.clock,
      sockets: rig.sockets,
      self: () => ({ process, hostId: process, region: "ams" }),
      links: () => ({
        peek: () => rig.openLinkTo(this)?.owner,
        toProcess: () => Promise.reject(new StatefulError("owner_unreachable", "by the test")),
        isGone: (name) => rig.gone.has(name),
        versionOf: () => rig.versions.newest,
      }),
    });
  }

  get facts() {
    const { epoch, autoResponse, redeliver, process } = this;
    return { ref, session: `${process}.1`, epoch, autoResponse, redeliver, wakeOnClose: false };
  }

  /** Attaches the edge, as the first upgrade does and an arriving object. */
  attach(before?: LastWord): EdgePort {
    this.port = this.ports.to(this.#rig.edge, { ...this.facts, before }, new Map(this.taken), this);
    return this.port;
  }

  carrier(client: FakeClient) {
    if (this.port === undefined) throw new Error("not attached");
    return this.port.carrier(client.number);
  }

  messages(client: FakeClient): unknown[] {
    return this.told
      .filter(([event, number]) => event === "message" && number === client.number)
      .map(([, , message]) => message);
  }

  async claim() {
    this.claims += 1;
    if (this.refusal) throw this.refusal;
    const { ending } = this;
    this.ending = undefined;
    if (ending) queueMicrotask(() => ending.close(new StatefulError("session_over", "by the test")));
    return ending ?? this.edges;
  }

  /** What the host's table gives a registering edge. */
  readonly edges = {
    at: () => (this.port && this.lostBecause === undefined ? this : undefined),
    attach: (_: EdgeName, open: (events: EdgeEvents, facts: FakeOwner["facts"]) => EdgePort) => {
      this.lostBecause = undefined;
      this.port = open(this, this.facts);
    },
  };

  cursors(): ReadonlyMap<number, number> {
    return new Map(this.taken);
  }

  positions(positions: ReadonlyMap<string, string>): void {
    this.told.push(["positions", Object.fromEntries(positions)]);
  }

  roll(records: readonly SocketRecord[], scope: "all" | "missing", isLast: boolean): void {
    for (const record of records) {
      this.told.push(["record", record.number, record.handled]);
      this.records.set(record.number, record);
      if (!this.taken.has(record.number)) this.taken.set(record.number, record.handled);
    }
    if (isLast) this.told.push(["rolled", scope]);
  }
  head(number: number): void {
    this.told.push(["head", number]);
  }
  opened(number: number): void {
    this.told.push(["opened", number]);
    this.port?.carrier(number).handled(0);
  }
  message(number: number, message: SocketData): void {
    this.told.push(["message", number, message]);
    this.taken.set(number, (this.taken.get(number) ?? 0) + 1);
    const carrier = this.port?.carrier(number);
    if (this.echoes) carrier?.send(message);
    if (this.acknowledges) carrier?.handled(1);
  }
  drained(number: number): void {
    this.told.push(["drained", number]);
  }
  closed(number: number, code: number): void {
    this.taken.delete(number);
    this.told.push(["closed", number, code]);
  }
  lost(error: StatefulError): void {
    this.lostBecause = error;
    this.told.push(["lost", error.code]);
  }
}

interface RigLink {
  readonly process: string;
  readonly network: MemoryTransportPair;
  readonly edge: LinkConnection;
  readonly owner: LinkConnection;
}

/** One edge with its clients, and as many owners as a test needs, each at a host of its own with a link over memory. */
export class EdgeRig {
  readonly clock = new VirtualClock();
  readonly edge: EdgeName = { process: "edge", hostId: "edge", region: "ams" };
  readonly sockets: EdgeSockets;
  /** Of the links, spoken at both ends. */
  versions: VersionRange = linkVersions;
  /** Objects whose owner is lost. */
  readonly sought: HeldSockets[] = [];
  readonly published: [string, SocketData][] = [];
  readonly gone = new Set<string>();
  readonly #links: RigLink[] = [];
  readonly #owners = new Map<string, FakeOwner>();
  readonly #delayMs: number;

  constructor(delayMs = 0) {
    this.#delayMs = delayMs;
    this.sockets = new EdgeSockets({
      addresses: anyAddress,
      clock: this.clock,
      publishNatively: (name, message) => void this.published.push([name, message]),
      ...{ socketsMax: 1000, backpressureLimitBytes: 1024 * 1024 },
      seek: (held) => void this.sought.push(held),
      owns: () => undefined,
    });
  }

  get held(): HeldSockets {
    return this.sockets.heldOf(ref);
  }

  /** An owner; with the edge's own process, one of the same host. */
  owner(process: string, epoch: number, taken: ReadonlyMap<number, number> = new Map()): FakeOwner {
    const owner = new FakeOwner(this, process, epoch, taken);
    this.#owners.set(process, owner);
    return owner;
  }

  /** The owner in that process. */
  owners(process: string): FakeOwner {
    const owner = this.#owners.get(process);
    if (owner === undefined) throw new Error(`No owner in ${process}.`);
    return owner;
  }

  openLinkTo(owner: FakeOwner): RigLink | undefined {
    return this.#links.findLast(({ process, edge }) => process === owner.process && edge.isOpen);
  }

  /** A link between the edge and an owner's host. */
  async link(owner: FakeOwner): Promise<RigLink> {
    const { clock } = this;
    const network = memoryTransportPair(clock, { delayMs: () => this.#delayMs });
    const edge = this.#end(network.left, "dialer", owner.process, {
      channel: (channel, _, value) => {
        const attachment = decodeAttachmentHead(value);
        if (attachment.opener !== "owner") throw new StatefulError("bad_request", "An edge is no owner.");
        return this.sockets.ownerChannel(channel, attachment);
      },
      post: () => undefined,
    });
    const other = this.#end(network.right, "acceptor", "edge", {
      channel: (channel, _, value) => {
        const attachment = decodeAttachmentHead(value);
        if (attachment.opener !== "edge") throw new StatefulError("bad_request", "An owner is no edge.");
        const current = this.#owners.get(owner.process) ?? owner;
        // The fake has what is used of the real one.
        const table = { claim: () => current.claim() as Promise<never> };
        return new ServedRegistration(channel, attachment, { table, ports: current.ports });
      },
      post: () => undefined,
    });
    const limits = linkLimits();
    edge.greet({ ...helloOf("edge", limits), session: "edge" });
    other.greet({ ...helloOf(owner.process, limits), session: owner.process });
    await clock.advance(2 * this.#delayMs + 1);
    const link = { process: owner.process, network, edge, owner: other };
    this.#links.push(link);
    return link;
  }

  #end(
    transport: MemoryTransportPair["left"],
    side: "dialer" | "acceptor",
    peer: string,
    handlers: LinkHandlers,
  ): LinkConnection {
    return new LinkConnection({
      ...{ transport, side, limits: linkLimits(), clock: this.clock, handlers, log: silentLog },
      nextTurn: process.nextTick,
      versions: this.versions,
      peer: { session: peer, hostId: peer, region: "ams" },
      checkHello: () => undefined,
      opened: () => undefined,
      ended: () => undefined,
      gone: () => undefined,
    });
  }

  /** The link between the two breaks. The edge notices; the owner's host may take the link for open for a while. */
  cut(owner: FakeOwner, bothNotice = true): void {
    const link = this.openLinkTo(owner);
    link?.network.cut();
    const error = new StatefulError("outcome_unknown", "cut by the test");
    link?.edge.close(error);
    if (bothNotice) link?.owner.close(error);
  }

  /** The edge comes to that owner by itself. */
  async register(owner: FakeOwner) {
    const link = this.openLinkTo(owner) ?? (await this.link(owner));
    const { answer } = this.sockets.register(link.edge, this.held, "own");
    await this.clock.advance(4 * this.#delayMs + 1);
    return answer;
  }

  /** A client whose upgrade the owner has accepted. */
  async connect(owner: FakeOwner): Promise<FakeClient> {
    if (owner.process !== "edge" && this.openLinkTo(owner) === undefined) await this.link(owner);
    const client = new FakeClient(this.sockets.add(ref));
    if (owner.port === undefined) owner.attach();
    owner.taken.set(client.number, 0);
    await this.clock.advance(2 * this.#delayMs + 1);
    this.held.add(client.socket, { ...this.identity(client), settled: undefined }, owner.process);
    client.socket.connected(client);
    await this.settle();
    return client;
  }

  /** What the edge keeps of a client. */
  identity({ number }: FakeClient) {
    return { id: `id-${number}`, remoteAddress: "::1", head };
  }

  async settle(): Promise<void> {
    await this.clock.advance(4 * this.#delayMs + 1);
  }
}
