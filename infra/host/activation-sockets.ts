import { StatefulError } from "../lib/errors.ts";
import { type ObjectEvent, UpgradeSlot } from "../object/event.ts";
import { SubscribeEvent } from "../object/handles.ts";
import type { HttpContext } from "../object/http-context.ts";
import { runAsEvent } from "../storage/running-event.ts";
import { type SocketAtEdge, TopicHub } from "../topics/topic-hub.ts";
import { type TopicMessage, type TopicStart, waitingBytesOf } from "../topics/topic-message.ts";
import { presenceData, presenceTopic, TopicPresence, topicOfPresence } from "../topics/topic-presence.ts";
import { handlerFailed, noLongerHere, tooMany } from "./activation-errors.ts";
import { closeUndelivered } from "./activation-handles.ts";
import { ActivationLife } from "./activation-life.ts";
import { whyNotGoingOn } from "./activation-phase.ts";
import type { ActivationSetup } from "./activation-setup.ts";
import type { AttachedEdge } from "./attached-edge.ts";
import type { UpgradeHead } from "./edge-port.ts";
import type { ObjectEdges } from "./object-edges.ts";
import type { HttpEvent } from "./open-event.ts";
import { upgradeRequest } from "./upgrade-request.ts";
import type { ReplayedUpgrade, VirtualSocket } from "./virtual-socket.ts";

/** Regions that are told apart between two looks at the traffic; hosts name them, and there are fewer. */
const eventRegionsMax = 256;

/** What an activation does for its clients' sockets: their events, in turn with all others, and the edges that hold them. */
export abstract class ActivationSockets extends ActivationLife {
  /** Set by every event, cleared by the idle sweep: cheaper than a time stamp per event. */
  touched = true;
  /** Events since whoever watches the traffic has looked: an increment each, which is all that a local one can bear. */
  eventsTaken = 0;
  /** Those of them that came in elsewhere, by region. */
  eventsFrom: Map<string, number> | undefined;
  #hub: TopicHub | undefined;
  #sockets: Set<VirtualSocket> | undefined;
  #edges: ObjectEdges | undefined;
  #presences: Map<string, TopicPresence> | undefined;

  constructor(setup: ActivationSetup) {
    super(setup);
    this.#edges = setup.edges;
  }

  /** Lets something out, at once or when all that went before it is durable, or, where the lease is not confirmed, when it is again. Throws where nothing may leave. */
  abstract pass(effect: () => void, bytes: number): void;
  protected abstract machineEdges(): ObjectEdges;
  /** The upgrade request of an open socket, as the class answers it now. */
  protected abstract upgradeAgain(request: Request, target: string, slot: UpgradeSlot): Promise<Response>;

  /** The event that comes next was taken at an edge of that region. */
  cameFrom(region: string): void {
    if (region === this.runtime.host.region) return;
    this.eventsFrom ??= new Map();
    const known = this.eventsFrom.get(region);
    if (known !== undefined || this.eventsFrom.size < eventRegionsMax)
      this.eventsFrom.set(region, (known ?? 0) + 1);
  }

  protected touch(): void {
    this.touched = true;
  }

  get hub(): TopicHub {
    this.#hub ??= new TopicHub(this.ref.key);
    return this.#hub;
  }

  // -- topics with a history

  /** Where a subscription to the topic begins. */
  topicStart(topic: string, since: string | undefined): TopicStart {
    const history = this.histories?.of(topic);
    if (history) this.store?.histories?.told(topic, history);
    const start = this.histories?.start(topic, since) ?? startWithoutHistory(since);
    const policy = this.runtime.definition.topics.get(topic)?.slowReaders ?? "close";
    return policy === "close" ? start : { ...start, slowReaders: policy };
  }

  /**
   * Tells those who listen at an edge what they have missed since that position. It stands in the line with all that is
   * published: what went before it is among the missed, and what comes after it is sent by itself.
   */
  catchUp(edge: AttachedEdge, topic: string, since: string): void {
    const start = this.topicStart(topic, since);
    const fill = () => {
      this.hub.caughtUp(topic, edge);
      const isWhole = start.recovered === true && start.missed.length === 0;
      if (isWhole || !this.hub.reaches(topic, edge)) return;
      if (!edge.port.fill(topic, start)) closeUndelivered(this.openSockets, [edge], topic);
    };
    try {
      this.pass(fill, waitingBytesOf(start));
    } catch {
      this.hub.caughtUp(topic, edge);
      closeUndelivered(this.openSockets, [edge], topic);
    }
  }

  // -- presence

  /** Undefined for a topic without. */
  presenceOf(topic: string): TopicPresence | undefined {
    const known = this.#presences?.get(topic);
    const options = known ? undefined : this.runtime.definition.topics.get(topic)?.presence;
    if (options === undefined) return known;
    const presence = new TopicPresence({
      clock: this.machine.clock,
      membersMax: options.membersMax,
      tell: (json) => this.#tellPresence(topic, json),
    });
    this.#presences ??= new Map();
    this.#presences.set(topic, presence);
    return presence;
  }

  /** What the class says of a subscriber, as JSON. */
  presenceDataOf(topic: string, socket: { readonly data: object }): string | undefined {
    const data = this.runtime.definition.topics.get(topic)?.presence?.data;
    if (data === undefined) return undefined;
    const { request } = socket.data as HttpContext; // what the hooks of an upgrade have made
    return presenceData(topic, data(new SubscribeEvent(this.scope, request, topic)));
  }

  #tellPresence(topic: string, json: string): void {
    const message = { topic: presenceTopic(topic), data: json, form: "json", position: undefined } as const;
    try {
      this.pass(() => this.publishNow(message, undefined), json.length);
    } catch {
      if (this.phase.name !== "over") this.presenceOf(topic)?.missed();
    }
  }

  // -- the input gate

  get isGateShut(): boolean {
    return this.gate !== undefined && !this.gate.isOpen && this.runtime.definition.concurrency !== "serial";
  }

  /** The lease may have ended while the event waited at the gate (L3). */
  async waitAtGate(event: ObjectEvent): Promise<void> {
    // Every event that reaches an activation was made by the dispatcher, which makes nothing else.
    await this.inputGate.enter(event as HttpEvent, false);
    const invalid = whyNotGoingOn(this.phase, this.ref);
    if (invalid) throw invalid;
  }

  /** Called by the first hook of a serial class. */
  async enter(event: ObjectEvent): Promise<void> {
    await this.inputGate.enter(event as HttpEvent, true); // as above: the dispatcher's
    const invalid = whyNotGoingOn(this.phase, this.ref);
    if (invalid) throw invalid;
  }

  // -- sockets

  get socketCount(): number {
    return this.#sockets?.size ?? 0;
  }

  /** @throws StatefulError `not_owner` where it is over, and has had none: there is nothing to attach an edge to. */
  get edges(): ObjectEdges {
    if (this.#edges === undefined && this.phase.name === "over")
      throw noLongerHere(this.ref, this.phase.cause);
    this.#edges ??= this.machineEdges();
    return this.#edges;
  }
  /** Undefined where no client has ever been connected. */
  get attachedEdges(): ObjectEdges | undefined {
    return this.#edges;
  }

  /** Refuses with `queue_full` past the class's limit of sockets. */
  addSocket(socket: VirtualSocket): void {
    const invalid = whyNotGoingOn(this.phase, this.ref);
    if (invalid) throw invalid;
    const { socketsMax } = this.runtime.definition.limits;
    if (this.socketCount >= socketsMax) throw tooMany(this.ref, "sockets", socketsMax);
    this.keepSocket(socket);
  }

  /** One that was there before this activation. */
  keepSocket(socket: VirtualSocket): void {
    this.#sockets ??= new Set();
    this.#sockets.add(socket);
    this.touched = true;
  }

  forgetSocket(socket: VirtualSocket): void {
    this.#sockets?.delete(socket);
    this.#edges?.forgetSocket(socket);
    this.touched = true;
  }

  /** The client's message is dealt with, as soon as all that its handler changed is safe. */
  acknowledge(socket: VirtualSocket): void {
    this.#handled(socket, 1);
  }

  /** The same for its opening. */
  opened(socket: VirtualSocket): void {
    this.#handled(socket, 0);
  }

  #handled(socket: VirtualSocket, count: number): void {
    const acknowledge = () => socket.carrier.handled(count);
    try {
      this.pass(acknowledge, 0);
    } catch {
      acknowledge(); // The line is full: the edge would otherwise take the socket for stuck.
    }
  }

  /**
   * Runs the hooks of a socket's upgrade again, for a socket that this activation has found open. Open, as an event, until
   * `replayEnded`.
   */
  async replayUpgrade(head: UpgradeHead | undefined): Promise<ReplayedUpgrade> {
    this.eventBegan();
    if (head === undefined) return { kind: "refused", closeCode: 1011, reason: "The upgrade is not known." };
    const slot = new UpgradeSlot(head.kind, true);
    try {
      if (this.isUnconfirmed) await this.untilConfirmed();
      const response = await this.upgradeAgain(upgradeRequest(head), head.target, slot);
      await response.body?.cancel();
      if (response.ok && slot.accepted) return { kind: "accepted", hooks: slot.accepted };
      if (response.status === 429) return { kind: "refused", closeCode: 1013, reason: "Try again later." };
    } catch (thrown) {
      if (!(thrown instanceof StatefulError)) this.reportFailure(thrown, undefined);
    }
    if (!this.isLive) return { kind: "gone" };
    return { kind: "refused", closeCode: 4401, reason: "The object does not take this connection any more." };
  }

  /** What waited for that has begun. */
  replayEnded(): void {
    this.handlerSettled();
  }

  /** Runs a socket's handler as an event. Synchronous where nothing has to wait; resolves when the handler settled. */
  runSocketEvent(socket: VirtualSocket, run: () => void | Promise<void>): void | Promise<void> {
    const { concurrency, limits } = this.runtime.definition;
    if (this.openEvents >= limits.queueLengthMax || this.store?.isBacklogged) {
      return socket.close(1013, "The object has too many open events.");
    }
    const waits = concurrency === "serial" || !this.isLive || this.isGateShut;
    const settled = waits ? this.runInTurn(run) : this.#runNow(socket, run);
    return settled?.catch((thrown) => this.#socketFailed(socket, thrown));
  }

  /** The usual message: no promise where the handler needs none. */
  #runNow(socket: VirtualSocket, run: () => void | Promise<void>): Promise<void> | undefined {
    this.touched = true;
    this.eventBegan();
    try {
      const running = runAsEvent(this.ref, run);
      if (running instanceof Promise) return running.finally(() => this.handlerSettled());
    } catch (thrown) {
      this.#socketFailed(socket, thrown);
    }
    this.handlerSettled();
    return undefined;
  }

  /** A handler has settled: what it changed is saved, and its event is over. */
  protected handlerSettled(): void {
    this.store?.handlerEnded();
    this.eventEnded();
  }

  /** Runs something as an event: in its turn, and not before the lease is confirmed. */
  protected async runInTurn(run: () => void | Promise<void>): Promise<void> {
    const visitor = { objectKey: this.ref.key, chain: [] };
    const isSerial = this.runtime.definition.concurrency === "serial";
    this.eventBegan();
    try {
      if (isSerial || this.isGateShut) await this.inputGate.enter(visitor, isSerial);
      if (this.isUnconfirmed) await this.untilConfirmed();
      if (this.phase.name === "moving" && this.phase.isPacked) await this.untilMoved();
      const invalid = whyNotGoingOn(this.phase, this.ref);
      if (invalid) throw invalid;
      await runAsEvent(this.ref, run);
    } finally {
      this.gate?.leave(visitor);
      this.handlerSettled();
    }
  }

  #socketFailed(socket: VirtualSocket, thrown: unknown): void {
    if (this.phase.name === "over") return; // Its end has closed the socket, and says why.
    const isOurs = thrown instanceof StatefulError;
    const error = isOurs ? thrown : handlerFailed(this.reportFailure(thrown, undefined));
    if (this.isUnconfirmed) socket.closeAtOnce(error.closeCode, error.message);
    else socket.close(error.closeCode, error.message);
  }

  protected get openSockets(): ReadonlySet<VirtualSocket> {
    return this.#sockets ?? noSockets;
  }

  protected publishNow(message: TopicMessage, except: SocketAtEdge | undefined): void {
    const failed = this.#hub?.publish(message, except) ?? [];
    if (failed.length === 0) return;
    const present = topicOfPresence(message.topic);
    if (present === undefined) closeUndelivered(this.openSockets, failed, message.topic);
    else this.presenceOf(present)?.missed();
  }

  protected endSockets(cause: StatefulError): void {
    for (const presence of this.#presences?.values() ?? []) presence.stop();
    const sockets = [...this.openSockets];
    this.#sockets = undefined;
    if (!this.keepsSockets) for (const socket of sockets) socket.ended(cause.closeCode, cause.message);
  }
}

const noSockets: ReadonlySet<VirtualSocket> = new Set();

function startWithoutHistory(since: string | undefined): TopicStart {
  return { position: undefined, recovered: since === undefined ? undefined : false, missed: [] };
}
