import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import type { Objects, Sockets, Topics } from "../object/context.ts";
import type { ObjectEvent, ObjectScope, UpgradeSlot } from "../object/event.ts";
import { AlarmHandles } from "../object/handles.ts";
import type { CompiledFetch } from "../object/object.ts";
import type { Alarms, ObjectStorage } from "../object/storage.ts";
import { isStreamed, markStreamed } from "../object/streamed-response.ts";
import type { AlarmFiring } from "../storage/alarm-book.ts";
import { decodeValue } from "../storage/storage-codec.ts";
import type { SocketAtEdge } from "../topics/topic-hub.ts";
import type { TopicMessage, TopicPayload } from "../topics/topic-message.ts";
import {
  backlogged,
  handleOver,
  handlerFailed,
  outcomeUnknown,
  releaseFailure,
  tooMany,
} from "./activation-errors.ts";
import { socketsOf, topicsOf } from "./activation-handles.ts";
import { ActivationSockets } from "./activation-sockets.ts";
import { whyNotAccepting, whyNotReleasing } from "./activation-phase.ts";
import type { ActivationSetup } from "./activation-setup.ts";
import { HeldStream } from "./held-stream.ts";
import { type HeldMemory, socketBytesOf } from "./memory-account.ts";
import type { MoveNote } from "./move-package.ts";
import { ObjectTimers } from "./object-timers.ts";
import type { ObjectEdges } from "./object-edges.ts";
import { type HttpEvent, OpenEvent } from "./open-event.ts";
import type { OutputGate } from "./output-gate.ts";
import { alarmsOf, storageOf } from "./storage-handles.ts";
import { checkTopicName } from "./topic-limits.ts";
import { UnconfirmedEffects } from "./unconfirmed-effects.ts";
import { chainFrom } from "./waiting-calls.ts";

/** The live copy of one object: its state, its sockets, its topics, and the events that are open on it. */
export class Activation extends ActivationSockets implements ObjectScope {
  idleSinceMs: number;
  /** What came with it from another host. */
  arrivedWith: MoveNote | undefined;
  #timers: ObjectTimers | undefined;
  #unconfirmed: UnconfirmedEffects | undefined;

  constructor(setup: ActivationSetup) {
    super(setup);
    this.idleSinceMs = setup.host.clock.monotonicMs();
  }

  /** Whether anything would notice if it stopped now. Sockets would not: they stay open, and wake it. */
  get isIdle(): boolean {
    return this.openEvents === 0 && (this.#timers?.count ?? 0) === 0;
  }
  /** What keeps it awake, for whoever asks why it does not sleep. */
  get awake(): { readonly events: number; readonly timers: number } {
    return { events: this.openEvents, timers: this.#timers?.count ?? 0 };
  }

  get memoryBytesMax(): number {
    return this.runtime.definition.limits.memoryBytesMax;
  }
  /** For its account. */
  heldMemory(): HeldMemory {
    const { ref, currentState: state } = this;
    const { memoryHint } = this.runtime.definition;
    const { storageBytes, pendingBytes } = this.store?.memory ?? { storageBytes: 0, pendingBytes: 0 };
    const socketBytes = socketBytesOf(this.openSockets) + (this.attachedEdges?.bufferedBytes ?? 0);
    return {
      ref,
      state,
      memoryHint,
      storageBytes,
      pendingBytes,
      socketBytes,
      topicBytes: this.histories?.bytes ?? 0,
    };
  }

  protected get scope(): ObjectScope {
    return this;
  }
  protected machineEdges(): ObjectEdges {
    return this.machine.edgesOf(this);
  }
  protected async upgradeAgain(request: Request, target: string, slot: UpgradeSlot): Promise<Response> {
    return this.fetch(request, new OpenEvent(this, target, slot));
  }

  protected ended(cause: StatefulError): void {
    this.#timers?.cancelAll();
    this.endSockets(cause);
  }

  protected fire(firing: AlarmFiring, settled: () => void): Promise<void> {
    const { onAlarm } = this.runtime.definition;
    return this.runInTurn(async () => {
      const payload = decodeValue(firing.payload);
      const dueAt = new Date(firing.dueAtMs);
      await onAlarm?.(new AlarmHandles(this, { ...firing, payload, dueAt }));
      // What the handler wrote without waiting for it belongs to the same commit.
      await this.store?.applied();
      while (this.store?.storage.inTransaction) await this.store.applied();
      // In this very turn: a commit may leave in the next one, and must not remove the alarm without the state.
      this.store?.handlerEnded();
      settled();
    });
  }

  // -- HTTP events

  /** Serves one request. Never rejects: every failure is a problem document. */
  fetch(
    request: Request,
    event: HttpEvent,
    handler: CompiledFetch = this.runtime.fetch,
  ): Response | Promise<Response> {
    const refusal = this.#refuseRequest();
    if (refusal) return problem(refusal);
    this.touched = true;
    this.eventsTaken += 1;
    this.eventBegan();
    if (!this.isGateShut) return this.#handle(request, event, handler);
    return this.waitAtGate(event).then(
      () => this.#handle(request, event, handler),
      (thrown) => this.#finish(this.#problem(thrown, event), event),
    );
  }

  #handle(request: Request, event: HttpEvent, handler: CompiledFetch): Response | Promise<Response> {
    try {
      const answer = handler(request, event);
      if (!(answer instanceof Promise)) return this.#release(answer, event);
      return answer.then(
        (response) => this.#release(response, event),
        (thrown) => this.#release(this.#problem(thrown, event), event),
      );
    } catch (thrown) {
      return this.#release(this.#problem(thrown, event), event);
    }
  }

  /** A class answers its own failures; what gets past it is an error hook that threw itself, or a bug of ours. */
  #problem(thrown: unknown, event: HttpEvent): Response {
    if (thrown instanceof StatefulError) return problem(thrown);
    return problem(handlerFailed(this.reportFailure(thrown, event)));
  }

  #refuseRequest(): StatefulError | undefined {
    const invalid = whyNotAccepting(this.phase, this.ref);
    if (invalid) return invalid;
    if (this.store?.isBacklogged) return backlogged(this.ref);
    const { queueLengthMax } = this.runtime.definition.limits;
    if (this.openEvents < queueLengthMax) return undefined;
    return tooMany(this.ref, "open events", queueLengthMax);
  }

  /** The output gate of a response: it leaves when all that went before it is durable. */
  #release(response: Response, event: HttpEvent): Response | Promise<Response> {
    this.gate?.leave(event);
    if (this.store === undefined) return this.#finish(response, event);
    this.store.noteEvent();
    const refused = (thrown: unknown) => {
      response.body?.cancel().catch(ignore);
      event.upgrade?.refuse();
      const answer = this.#problem(releaseFailure(thrown), event);
      if (this.phase.name !== "over") return this.#finish(answer, event);
      this.eventEnded(event); // Why it ended is what the caller is told.
      return answer;
    };
    try {
      const waiting = this.store.answer(event);
      if (waiting === undefined) return this.#finish(response, event);
      return waiting.then(() => this.#finish(response, event), refused);
    } catch (thrown) {
      return refused(thrown);
    }
  }

  /** The release check (L3): a copy that lost its lease answers nobody. */
  #finish(response: Response, event: HttpEvent): Response {
    const held = isStreamed(response) ? this.#hold(response, event) : response;
    const isOpen = isStreamed(held);
    if (!isOpen) this.eventEnded(event);
    const invalid = whyNotReleasing(this.phase, this.ref);
    if (invalid === undefined) return this.isDegraded ? markedDegraded(held) : held;
    event.upgrade?.refuse();
    if (isOpen) void held.body?.cancel(invalid); // which also ends the event
    return problem(outcomeUnknown(invalid));
  }

  /** A stream keeps its event open until it ends; one that cannot be read, as when it was sent before, is a failure. */
  #hold(response: Response, event: HttpEvent): Response {
    try {
      const held: HeldStream = new HeldStream(response, {
        turn: (bytes) => this.machine.streamTurns.take(bytes),
        released: () => this.released(event),
        ended: () => {
          this.streamEnded(held);
          this.eventEnded(event);
        },
      });
      this.streamBegan(held);
      return held.response;
    } catch (thrown) {
      return this.#problem(thrown, event);
    }
  }

  // -- what leaves

  /** Its position, where the topic has a history. */
  publish(topic: string, payload: TopicPayload, except?: SocketAtEdge): string | undefined {
    checkTopicName(topic);
    const history = this.histories?.of(topic);
    const keeper = history && this.store?.histories;
    keeper?.reserve(topic, payload);
    const position = this.histories?.append(topic, payload);
    const message: TopicMessage = { topic, ...payload, position };
    try {
      this.pass(() => {
        this.publishNow(message, except);
      }, payload.data.length);
    } catch (thrown) {
      if (position !== undefined) history?.retract(position);
      keeper?.unreserve(topic, payload);
      throw thrown;
    }
    if (history) keeper?.said(topic, payload, history);
    return position;
  }

  get output(): OutputGate | undefined {
    return this.store?.output;
  }

  pass(effect: () => void, bytes: number): void {
    const invalid = this.whyNotReleasing;
    if (invalid) {
      if (!this.isUnconfirmed) throw invalid;
      this.#unconfirmed ??= new UnconfirmedEffects();
      if (!this.#unconfirmed.add({ run: effect, bytes })) throw invalid;
    } else if (this.store) this.store.output.pass(effect, bytes);
    else effect();
  }

  protected confirmed(): void {
    const waiting = this.#unconfirmed?.takeAll() ?? [];
    this.#unconfirmed = undefined;
    try {
      for (const { run, bytes } of waiting) this.pass(run, bytes);
    } catch (thrown) {
      // What it has said to some and not to others cannot be made up for.
      this.machine.broken(this, asStatefulError(thrown));
    }
  }

  /** Resolves, or is undefined, when what is said now may leave. */
  released(event?: ObjectEvent): Promise<void> | undefined {
    this.checkRelease();
    return this.store?.answer(event)?.then(() => this.checkRelease());
  }

  /** What a call to another object waits for. One made inside a transaction would wait for its own end. */
  #callReleased(): Promise<void> | undefined {
    if (!this.store?.storage.isInside) return this.released();
    throw new StatefulError(
      "bad_request",
      "Inside a transaction no other object can be called: call it afterwards.",
    );
  }

  // -- handles (ObjectScope)

  get objectId(): string {
    return this.ref.id;
  }
  get state(): object {
    if (this.phase.name === "over") throw handleOver(this.ref, this.phase.cause);
    return this.currentState;
  }
  get host() {
    return this.runtime.host;
  }
  get objects(): Objects {
    return this.callsFrom(undefined);
  }
  callsFrom(event: ObjectEvent | undefined): Objects {
    // Every event that reaches an activation was made by the dispatcher, which makes nothing else.
    const chain = event ? chainFrom(event as HttpEvent) : [this.ref.key];
    return this.machine.callsFrom(chain, () => this.#callReleased());
  }
  get topics(): Topics {
    return topicsOf(this);
  }
  get sockets(): Sockets {
    return socketsOf(this.openSockets);
  }
  get storage(): ObjectStorage {
    return this.storageFor(undefined);
  }
  storageFor(caller: object | undefined): ObjectStorage {
    return storageOf(this.openedStore.storage, caller);
  }
  get alarms(): Alarms {
    const { name, onAlarm } = this.runtime.definition;
    return alarmsOf(this.openedStore.alarms, name, onAlarm !== undefined);
  }

  waitUntil(work: Promise<unknown>): void {
    this.eventBegan();
    Promise.resolve(work)
      .catch((thrown) => this.reportFailure(thrown, undefined))
      .finally(() => this.handlerSettled());
  }

  setTimeout(callback: () => void | Promise<void>, delayMs: number): () => void {
    if (this.phase.name === "over") throw handleOver(this.ref, this.phase.cause);
    this.#timers ??= new ObjectTimers(this.machine.clock);
    return this.#timers.after(delayMs, () => {
      const isMoving = this.phase.name === "moving";
      const run = () => this.runInTurn(callback);
      (isMoving ? this.untilMoved().then(run) : run()).catch((thrown) => {
        if (this.phase.name !== "over") this.reportFailure(thrown, undefined);
      });
    });
  }
}

/** Tells the client that another copy of the object may live elsewhere (L8). */
export const degradedHeader = "stateful-degraded";

function markedDegraded(response: Response): Response {
  const marked = new Response(response.body, response);
  marked.headers.set(degradedHeader, "directory");
  return isStreamed(response) ? markStreamed(marked) : marked;
}

function ignore(): void {
  // An answer that must not leave is dropped; that its body cannot even be cancelled says nothing new.
}
