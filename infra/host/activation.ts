import { nanoid } from "nanoid";
import type { Session } from "../lease/leases.ts";
import { sleep, withTimeLimit } from "../lib/clock.ts";
import { problem, StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Objects, Sockets, StartReason, StopReason, Topics } from "../object/context.ts";
import type { ObjectEvent, ObjectScope } from "../object/event.ts";
import { LifecycleEvent } from "../object/handles.ts";
import type { CompiledFetch } from "../object/object.ts";
import type { SocketData } from "../object/socket-message.ts";
import { isStreamed } from "../object/streamed-response.ts";
import { type SocketAtEdge, TopicHub } from "../topics/topic-hub.ts";
import { handleOver, handlerFailed, outcomeUnknown, startFailed, tooMany } from "./activation-errors.ts";
import { closeUndelivered, socketsOf, topicsOf } from "./activation-handles.ts";
import { adopted, type Phase, suspended, whyNotAccepting, whyNotReleasing } from "./activation-phase.ts";
import type { ActivationSetup } from "./activation-setup.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import { heldStream } from "./held-stream.ts";
import { type GateVisitor, InputGate } from "./input-gate.ts";
import { runHook } from "./lifecycle-hook.ts";
import { ObjectTimers } from "./object-timers.ts";
import type { HttpEvent } from "./open-event.ts";
import { checkTopicName } from "./topic-limits.ts";
import type { VirtualSocket } from "./virtual-socket.ts";

const resumeWaitLimitMs = 30_000;

/** The live copy of one object: its state, its sockets, its topics, and the events that are open on it. */
export class Activation implements ObjectScope {
  readonly ref: ObjectRef;
  readonly runtime: ClassRuntime;
  /** Set by every event, cleared by the idle sweep: cheaper than a time stamp per event. */
  touched = true;
  idleSinceMs: number;
  readonly startedAtMs: number;
  #phase: Phase;
  #epoch: number;
  #state: object;
  #openEvents = 0;
  #hub: TopicHub | undefined;
  #sockets: Set<VirtualSocket> | undefined;
  #timers: ObjectTimers | undefined;
  #gate: InputGate | undefined;
  #resumed: PromiseWithResolvers<void> | undefined;
  #quiet: PromiseWithResolvers<void> | undefined;
  /** Aborted when the activation ends, for the streams that are open then. */
  #streams: AbortController | undefined;
  readonly #setup: ActivationSetup;

  constructor(setup: ActivationSetup) {
    this.ref = setup.ref;
    this.runtime = setup.runtime;
    this.#setup = setup;
    this.#phase = { name: "starting", session: setup.session };
    this.#epoch = setup.epoch;
    this.#state = setup.carriedState ?? setup.runtime.definition.state();
    this.startedAtMs = setup.clock.wallMs();
    this.idleSinceMs = setup.clock.monotonicMs();
  }

  get phase(): Phase {
    return this.#phase;
  }
  /** Of its lease, the last that it had. */
  get epoch(): number {
    return this.#epoch;
  }
  get openEvents(): number {
    return this.#openEvents;
  }
  /** Whether anything would notice if it stopped now. */
  get isIdle(): boolean {
    return this.#openEvents === 0 && (this.#sockets?.size ?? 0) === 0 && (this.#timers?.count ?? 0) === 0;
  }
  get isLive(): boolean {
    return this.#phase.name === "live" && this.#phase.session.isValid();
  }
  get hub(): TopicHub {
    this.#hub ??= new TopicHub(this.ref.key);
    return this.#hub;
  }

  // -- life

  /** Runs `onStart`. Resolves when the activation is live; rejects, and is over, when it cannot be. */
  async start(reason: StartReason): Promise<void> {
    const { session, epoch, clock } = this.#setup;
    const { onStart } = this.runtime.definition;
    try {
      if (onStart) await runHook(clock, "onStart", () => onStart(new LifecycleEvent(this, reason)));
    } catch (thrown) {
      const cause = startFailed(this.ref, this.reportFailure(thrown, undefined), thrown);
      this.end(cause);
      throw cause;
    }
    if (this.#phase.name === "over") throw this.#phase.cause;
    // The session may have ended while onStart ran: then the next one adopts this activation or ends it, like any other.
    this.#phase = { name: "live", session, epoch };
    if (!session.isValid()) this.suspend();
  }

  /** Takes no new event, waits up to `quietLimitMs` for open ones, runs `onStop`, and ends. */
  async stop(reason: StopReason, quietLimitMs: number): Promise<void> {
    if (this.#phase.name !== "live") return;
    this.#phase = { ...this.#phase, name: "stopping", onStop: "waiting" };
    await this.whenQuiet(quietLimitMs);
    if (this.phase.name !== "stopping") return; // The session ended while it waited.
    this.#phase = { ...this.phase, onStop: "running" };
    const { onStop } = this.runtime.definition;
    try {
      if (onStop) await runHook(this.#setup.clock, "onStop", () => onStop(new LifecycleEvent(this, reason)));
    } catch (thrown) {
      this.reportFailure(thrown, undefined);
    }
    this.#stopped(`${this.ref.key} has stopped (${reason}).`);
  }

  #stopped(message: string): void {
    if (this.#phase.name === "suspended") this.#phase = { ...this.#phase, onStop: "done" };
    else this.end(new StatefulError("not_owner", message));
  }

  /** The session is over: nothing is accepted or released until `resume`. */
  suspend(): void {
    this.#phase = suspended(this.#phase);
  }

  /** The next session has adopted the lease (L1). A stop that was under way goes on: `suspended` and `adopted` have how. */
  resume(session: Session, epoch: number): void {
    if (this.#phase.name !== "suspended") return;
    this.#phase = adopted(this.#phase, session, epoch);
    this.#epoch = epoch;
    if (this.#phase.name === "suspended")
      return this.end(new StatefulError("not_owner", `${this.ref.key} has stopped.`));
    if (!session.isValid()) return this.suspend(); // The one after it adopts from here.
    if (this.#phase.name !== "live") return;
    this.#resumed?.resolve();
    this.#resumed = undefined;
  }

  /** Ends it for good. Sockets are closed with the cause; what still waits is refused with it. Keeps the first cause. */
  end(cause: StatefulError): void {
    if (this.#phase.name === "over") return;
    this.#phase = { name: "over", cause };
    this.#timers?.cancelAll();
    this.#streams?.abort(cause);
    this.#gate?.close(cause);
    this.#resumed?.reject(cause);
    this.#resumed = undefined;
    for (const socket of [...(this.#sockets ?? [])]) {
      socket.close(cause.closeCode, cause.message);
      socket.closed(cause.closeCode, cause.message);
    }
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
    this.#openEvents++;
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
    const invalid = whyNotAccepting(this.#phase, this.ref);
    if (invalid) return invalid;
    const { queueLengthMax } = this.runtime.definition.limits;
    if (this.#openEvents < queueLengthMax) return undefined;
    return tooMany(this.ref, "open events", queueLengthMax);
  }

  /** The release check of a response (L3): a copy that lost its lease answers nobody. */
  #release(response: Response, event: HttpEvent): Response {
    this.#gate?.leave(event);
    const held = isStreamed(response) ? this.#hold(response, event) : response;
    const isOpen = isStreamed(held);
    if (!isOpen) this.#eventEnded();
    const invalid = whyNotReleasing(this.#phase, this.ref);
    if (invalid === undefined) return held;
    event.upgrade?.refuse();
    if (isOpen) void held.body?.cancel(invalid); // which also ends the event
    return problem(outcomeUnknown(invalid));
  }

  /** A stream keeps its event open until it ends; one that cannot be read, as when it was sent before, is a failure. */
  #hold(response: Response, event: HttpEvent): Response {
    this.#streams ??= new AbortController();
    try {
      return heldStream(response, {
        checkRelease: () => this.checkRelease(),
        ended: () => this.#eventEnded(),
        over: this.#streams.signal,
      });
    } catch (thrown) {
      return this.#problem(thrown, event);
    }
  }

  #eventEnded(): void {
    this.#openEvents--;
    this.touched = true;
    if (this.#openEvents > 0) return;
    this.#quiet?.resolve();
    this.#quiet = undefined;
  }

  /** Resolves when no event is open any more, or after `limitMs`. */
  async whenQuiet(limitMs: number): Promise<void> {
    if (this.#openEvents === 0) return;
    this.#quiet ??= Promise.withResolvers();
    await Promise.race([this.#quiet.promise, sleep(this.#setup.clock, limitMs)]);
  }

  /** Called by the first hook of a serial class. The lease may have ended while the event waited at the gate (L3). */
  async enter(event: ObjectEvent): Promise<void> {
    // Every event that reaches an activation was made by the dispatcher, which makes nothing else.
    await this.#enterGate(event as HttpEvent);
    const invalid = whyNotAccepting(this.#phase, this.ref);
    if (invalid) throw invalid;
  }

  #enterGate(visitor: GateVisitor): void | Promise<void> {
    this.#gate ??= new InputGate();
    return this.#gate.enter(visitor);
  }

  // -- sockets

  get socketCount(): number {
    return this.#sockets?.size ?? 0;
  }

  /** Refuses with `queue_full` past the class's limit of sockets. */
  addSocket(socket: VirtualSocket): void {
    const invalid = whyNotAccepting(this.#phase, this.ref);
    if (invalid) throw invalid;
    const { socketsMax } = this.runtime.definition.limits;
    if (this.socketCount >= socketsMax) throw tooMany(this.ref, "sockets", socketsMax);
    this.#sockets ??= new Set();
    this.#sockets.add(socket);
    this.touched = true;
  }

  forgetSocket(socket: VirtualSocket): void {
    this.#sockets?.delete(socket);
    this.touched = true;
  }

  /** Runs a socket's handler as an event. Synchronous where nothing has to wait; resolves when the handler settled. */
  runSocketEvent(socket: VirtualSocket, run: () => void | Promise<void>): void | Promise<void> {
    const { concurrency, limits } = this.runtime.definition;
    if (this.#openEvents >= limits.queueLengthMax) {
      return socket.close(1013, "The object has too many open events.");
    }
    const settled =
      concurrency === "serial" || !this.isLive ? this.#runInTurn(run) : this.#runNow(socket, run);
    return settled?.catch((thrown) => this.#socketFailed(socket, thrown));
  }

  /** The usual message: no promise where the handler needs none. */
  #runNow(socket: VirtualSocket, run: () => void | Promise<void>): Promise<void> | undefined {
    this.touched = true;
    this.#openEvents++;
    try {
      const running = run();
      if (running instanceof Promise) return running.finally(() => this.#eventEnded());
    } catch (thrown) {
      this.#socketFailed(socket, thrown);
    }
    this.#eventEnded();
    return undefined;
  }

  /** Runs something as an event: in a serial class one at a time, and not before the lease is confirmed. */
  async #runInTurn(run: () => void | Promise<void>): Promise<void> {
    const visitor = { objectKey: this.ref.key, chain: [] };
    const isSerial = this.runtime.definition.concurrency === "serial";
    this.#openEvents++;
    try {
      if (isSerial) await this.#enterGate(visitor);
      if (this.#isUnconfirmed) await this.#untilResumed();
      const invalid = whyNotAccepting(this.#phase, this.ref);
      if (invalid) throw invalid;
      await run();
    } finally {
      this.#gate?.leave(visitor);
      this.#eventEnded();
    }
  }

  /** The session has run out, whether or not anyone has noticed yet: the next one may still adopt this activation. */
  get #isUnconfirmed(): boolean {
    return this.#phase.name === "suspended" || (this.#phase.name === "live" && !this.isLive);
  }

  #untilResumed(): Promise<void> {
    this.#resumed ??= Promise.withResolvers();
    const late = () => new StatefulError("session_over", `${this.ref.key} waits for the directory.`);
    return withTimeLimit(this.#setup.clock, resumeWaitLimitMs, this.#resumed.promise, late);
  }

  #socketFailed(socket: VirtualSocket, thrown: unknown): void {
    if (this.#phase.name === "over") return; // Its end has closed the socket, and says why.
    const isOurs = thrown instanceof StatefulError;
    const error = isOurs ? thrown : handlerFailed(this.reportFailure(thrown, undefined));
    socket.close(error.closeCode, error.message);
  }

  // -- topics

  publish(topic: string, message: SocketData, except?: SocketAtEdge): void {
    this.checkRelease();
    checkTopicName(topic);
    const failed = this.#hub?.publish(topic, message, except) ?? [];
    if (failed.length > 0) closeUndelivered(this.#sockets ?? noSockets, failed, topic);
  }

  /** Throws where this activation may not let anything out (L3). */
  checkRelease(): void {
    const invalid = whyNotReleasing(this.#phase, this.ref);
    if (invalid) throw invalid;
  }

  // -- handles (ObjectScope)

  get objectId(): string {
    return this.ref.id;
  }
  get state(): object {
    if (this.#phase.name === "over") throw handleOver(this.ref, this.#phase.cause);
    return this.#state;
  }
  /** The state, whatever the phase: what a class that is reloaded in dev takes along. */
  get lastState(): object {
    return this.#state;
  }
  get host() {
    return this.runtime.host;
  }
  get objects(): Objects {
    return this.callsFrom([]);
  }
  callsFrom(chain: readonly string[]): Objects {
    return this.#setup.callsFrom([...chain, this.ref.key], () => this.checkRelease());
  }
  get topics(): Topics {
    return topicsOf(this);
  }
  get sockets(): Sockets {
    return socketsOf(this.#sockets ?? noSockets);
  }

  waitUntil(work: Promise<unknown>): void {
    this.#openEvents++;
    Promise.resolve(work)
      .catch((thrown) => this.reportFailure(thrown, undefined))
      .finally(() => this.#eventEnded());
  }

  setTimeout(callback: () => void | Promise<void>, delayMs: number): () => void {
    if (this.#phase.name === "over") throw handleOver(this.ref, this.#phase.cause);
    this.#timers ??= new ObjectTimers(this.#setup.clock);
    return this.#timers.after(delayMs, () => {
      this.#runInTurn(callback).catch((thrown) => {
        if (this.#phase.name !== "over") this.reportFailure(thrown, undefined);
      });
    });
  }

  reportFailure(thrown: unknown, event: ObjectEvent | undefined): string {
    const errorId = nanoid(12);
    const entry = { errorId, object: this.ref.key, path: event?.path, error: thrown };
    this.#setup.log.error("handler.failed", entry);
    return errorId;
  }
}

const noSockets: ReadonlySet<VirtualSocket> = new Set();
