import type { SocketRecord } from "../host/edge-port.ts";
import { processOfSession } from "../lease/session-id.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { EdgeSocket } from "./edge-socket.ts";
import { type HeldClient, type HeldObject, HeldSocket } from "./held-socket.ts";
import type { OwnerState, WaitingLine } from "./owner-state.ts";
import { HeldTopics } from "./held-topics.ts";
import { laterOwner, type OwnerLine } from "./owner-line.ts";
import type { Moved, Registration } from "./socket-protocol.ts";
import type { Hello } from "./socket-hello.ts";
import type { RollScope } from "./socket-records.ts";

/** How long an edge waits for the owner that a move was announced to, and for the end of the one before it. */
export const moveLimitMs = 5000;
/** How long an attachment without a socket is kept: clients come and go. */
export const emptyLimitMs = 10_000;

export interface HeldSocketsSetup {
  readonly clock: Clock;
  /** The owner is lost: somebody is to find the next, and have it attached, while `isLost`. */
  seek(held: HeldSockets): void;
  /** This is whose the object is, for requests as well. */
  owns(key: string, session: string, epoch: number): void;
  /** It is over, and with it all sockets but those whose upgrade is under way. */
  forget(upgrading: ReadonlySet<number>): void;
}

/** Sockets that closed while the object slept, of whose end it wants to know; of more it is not told. */
const leavingMax = 4096;

/**
 * The sockets of one object at this edge, and the line to whoever owns it. Owners come and go, with rising epochs; at any time
 * the edge listens to one of them:
 *
 *     unattached ──hello──▶ attached ──moved──▶ moving ──the next one's hello──▶ attached
 *                              └────its line ends────▶ lost ──found, hello──▶ attached
 *
 * The next one's words may arrive before the last one's: they wait, in its line, for `moved`, or for the end of the line.
 */
export class HeldSockets implements HeldObject {
  readonly ref: ObjectRef;
  readonly #setup: HeldSocketsSetup;
  readonly #sockets = new Map<number, HeldSocket>();
  readonly topics = new HeldTopics(this.#sockets);
  /** Closed since the object fell asleep. */
  readonly #leaving: SocketRecord[] = [];
  /** Numbers of sockets whose upgrade is under way, of those before these too: an owner may know of them before we do. */
  readonly #upgrading: Set<number>;
  #state: OwnerState = { name: "unattached" };
  #waiting: WaitingLine[] = [];
  /** Of the last owner that said hello. */
  #hello: Hello | undefined;
  #epoch = 0;
  /** How many commands of that owner are applied. */
  applied = 0;
  #isHeld = false;
  #isAsleep = false;
  /** The owner goes on from commands that it had given before; until those are here, nothing is compared. */
  #isCatchingUp = false;
  #isSame = false;
  /** The last owner has said its last word: what it has not acknowledged by then it has not handled. */
  #isMoved = false;
  #direct: OwnerLine | undefined;
  /** Of the sockets: those whose client has left. */
  #closingCount = 0;
  #cancelEmpty: CancelTimer | undefined;

  constructor(setup: HeldSocketsSetup, ref: ObjectRef, upgrading: ReadonlySet<number>) {
    this.#setup = setup;
    this.ref = ref;
    this.#upgrading = new Set(upgrading);
  }

  get size(): number {
    return this.#sockets.size;
  }
  get isLost(): boolean {
    return this.#state.name === "lost";
  }
  /** Since when, and who it was. */
  get loss(): { readonly sinceMs: number; readonly process: string } | undefined {
    return this.#state.name === "lost" ? this.#state : undefined;
  }
  get autoResponse() {
    return this.#hello?.autoResponse;
  }
  get direct(): OwnerLine | undefined {
    return this.#direct;
  }

  at(socketNumber: number): HeldSocket | undefined {
    return this.#sockets.get(socketNumber);
  }

  // -- clients

  upgradeBegan(socketNumber: number): void {
    this.#upgrading.add(socketNumber);
    this.#cancelEmpty?.();
  }

  /** The upgrade was refused, or its client has left; or the socket is `add`ed. */
  upgradeEnded(socketNumber: number): void {
    if (!this.#upgrading.delete(socketNumber)) return;
    const { name } = this.#state;
    // The last owner had accepted it, and this one heard of it from that.
    if (name === "attached" && this.#hello?.cursors.has(socketNumber))
      this.#state.line.tellClosed(socketNumber, 1006, "");
    this.#checkEmpty();
  }

  /** An owner in that process has accepted the upgrade. */
  add(socket: EdgeSocket, client: HeldClient, process: string): void {
    const held = new HeldSocket(this, socket, client);
    this.#sockets.set(socket.socketId, held);
    this.#upgrading.delete(socket.socketId);
    held.acceptedOn = this.#lineOf(process);
    if (held.acceptedOn === undefined) held.hooksDue();
    this.#checkEmpty();
    if (this.#state.name === "unattached") this.#lose(process);
    socket.attachOwner(held);
  }

  #lineOf(process: string): OwnerLine | undefined {
    const waiting = this.#waiting.findLast(({ line }) => line.process === process);
    const current = this.#state.name === "attached" ? this.#state.line : undefined;
    return waiting?.line ?? (current?.process === process ? current : undefined);
  }

  forget(socket: HeldSocket): void {
    if (!this.#sockets.delete(socket.number)) return;
    if (socket.isClosing) this.#closingCount--;
    // The object is about to wake for its close, and has to be told of it once more then.
    const wakesIt = this.#isAsleep && this.#hello?.wakeOnClose === true;
    if (wakesIt && this.#leaving.length < leavingMax) this.#leaving.push(socket.record());
    this.#checkEmpty();
  }

  closing(): void {
    this.#closingCount++;
  }

  flush(socket: HeldSocket): void {
    const state = this.#state;
    if (state.name === "attached" && !this.#isHeld && !this.#isCatchingUp) socket.tell(state.line);
    else if (socket.isClosing) this.#checkEmpty();
  }

  /** Tells what waited: the line has room, or goes on. */
  flushAll(): void {
    for (const socket of [...this.#sockets.values()]) this.flush(socket);
  }

  closeAll(code: number, reason: string): void {
    for (const socket of [...this.#sockets.values()]) socket.close(code, reason);
  }

  // -- owners

  /** An owner says hello, on a line that keeps what it says next until it goes live. */
  offer(line: OwnerLine, hello: Hello): void {
    const isSame = hello.port === this.#hello?.port;
    const state = this.#state;
    if (hello.epoch < this.#epoch || state.name === "over") return line.end(laterOwner(this.ref));
    if (isSame && hello.after > this.applied)
      throw new StatefulError(
        "bad_request",
        `The owner of ${this.ref.key} goes on after what was never applied.`,
      );
    this.#cancelEmpty?.();
    const isAwaited = state.name === "moving" && hello.epoch > state.epoch;
    if (isAwaited || (state.name === "attached" && !isSame)) this.#await(line, hello);
    else this.#begin(line, hello);
    this.#checkEmpty();
  }

  #await(line: OwnerLine, hello: Hello): void {
    // Another channel of the same owner: it says again what waited in the first.
    this.#withdraw(this.#waiting.find((each) => each.hello.port === hello.port));
    const cancelLimit = this.#setup.clock.after(moveLimitMs, () => {
      const state = this.#state;
      if (state.name !== "attached") return;
      state.line.end(laterOwner(this.ref));
      this.ended(state.line);
    });
    this.#waiting = [...this.#waiting, { line, hello, cancelLimit }].sort(
      (a, b) => a.hello.epoch - b.hello.epoch,
    );
  }

  #begin(line: OwnerLine, hello: Hello): void {
    if (this.#state.name === "moving") this.#state.cancelLimit();
    this.#isSame = hello.port === this.#hello?.port;
    const wasGivenUp = !this.#isSame && (hello.epoch === this.#hello?.epoch || this.#hasMissed(hello));
    this.#state = { name: "attached", line };
    this.#epoch = hello.epoch;
    this.#hello = hello;
    if (!this.#isSame) {
      this.applied = hello.after;
      this.#isHeld = false;
    }
    this.#setup.owns(this.ref.key, hello.session, hello.epoch);
    this.#isCatchingUp = true;
    this.#changed();
    if (wasGivenUp) this.#closeGivenUp(line);
    line.goLive();
    this.commandApplied(line);
  }

  /** The owner before this one has said something that never arrived, and never will; or was not heard at all. */
  #hasMissed({ before }: Hello): boolean {
    if (before === undefined) return false;
    const known = this.#hello;
    // Of an owner that this edge never heard nobody can say what it, or those before it, had still to say.
    if (before.port !== known?.port) return known !== undefined || before.count > 0;
    return this.applied < before.count;
  }

  /** The same owner under another attachment: it gave the last one up, and what it had said there is lost (E15). */
  #closeGivenUp(line: OwnerLine): void {
    for (const socket of [...this.#sockets.values()])
      if (socket.acceptedOn !== line)
        socket.close(1012, "The object has lost track of this socket; connect again.");
  }

  /** A command of the owner has taken effect: `applied` has its number. */
  commandApplied(line: OwnerLine): void {
    if (!this.#isCatchingUp || this.#hello === undefined || !this.isCurrent(line)) return;
    if (this.applied < this.#hello.upTo) return;
    this.#isCatchingUp = false;
    this.#compare(line, this.#hello);
    this.#isMoved = false;
    this.#changed();
    this.flushAll();
  }

  isCurrent(line: OwnerLine): boolean {
    return this.#state.name === "attached" && this.#state.line === line;
  }

  /** The owner's list of sockets and ours: each is told what it lacks. */
  #compare(line: OwnerLine, { cursors, ...hello }: Hello): void {
    const redeliver = hello.redeliver || this.#isMoved;
    const missing: SocketRecord[] = [];
    for (const socket of [...this.#sockets.values()]) {
      const cursor = cursors.get(socket.number);
      const isAccepted = socket.acceptedOn === line;
      if (cursor === undefined && !isAccepted && socket.isClosing) this.forget(socket);
      else if (cursor === undefined && !isAccepted) missing.push(socket.record());
      socket.start({ isSame: this.#isSame, cursor, isAccepted, redeliver });
    }
    for (const number of cursors.keys())
      if (!this.#sockets.has(number) && !this.#upgrading.has(number)) line.tellClosed(number, 1006, "");
    if (missing.length > 0 || line.isRegistered) this.#tellRoll(line, missing, "missing");
  }

  /** With where the listeners are in their topics: an owner that has just begun may have published before it knew of this edge. */
  #tellRoll(line: OwnerLine, records: readonly SocketRecord[], scope: RollScope): void {
    if (this.topics.positions) line.tellPositions(this.topics.positions);
    line.tellRoll(records, scope);
  }

  /** The line has ended without a last word: the owner is lost. */
  ended(line: OwnerLine): void {
    this.#withdraw(this.#waiting.find((each) => each.line === line));
    if (this.isCurrent(line)) this.#lose(line.process);
  }

  #withdraw(waiting: WaitingLine | undefined): void {
    waiting?.cancelLimit();
    this.#waiting = this.#waiting.filter((each) => each !== waiting);
  }

  /** Of the processes that are gone: what they said last is not waited for any longer. */
  ownersGone(gone: ReadonlySet<string>): void {
    const state = this.#state;
    if (state.name === "moving" && gone.has(state.process)) return this.#lose(state.process);
    if (state.name !== "attached" || !gone.has(state.line.process)) return;
    state.line.end(new StatefulError("session_over", "The owner's session is over."));
    this.ended(state.line);
  }

  /** The next owner, if one has said hello already; else somebody has to look for it. */
  #next(): boolean {
    const next = this.#waiting.shift();
    if (next === undefined) return false;
    next.cancelLimit();
    this.#begin(next.line, next.hello);
    return true;
  }

  #lose(process: string): void {
    if (this.#state.name === "moving") this.#state.cancelLimit();
    this.#state = { name: "lost", sinceMs: this.#setup.clock.monotonicMs(), process };
    this.#isCatchingUp = false;
    this.#changed();
    if (this.#next()) return;
    this.#checkEmpty();
    if (this.isLost) this.#setup.seek(this);
  }

  /** Nobody was found who takes the sockets. */
  giveUp(): void {
    this.closeAll(1012, "The object's host is gone; connect again.");
    this.stop();
  }

  /** Where this edge is, for the next owner, or for the last one under another channel. */
  registration(intent: Registration["intent"]): Registration {
    const { className, id } = this.ref;
    const where = { epoch: this.#epoch, port: this.#hello?.port ?? "", applied: this.applied };
    return { className, id, intent, isAsleep: this.#isAsleep, ...where };
  }

  // -- what the owner on the line commands

  rollCall(line: OwnerLine): void {
    this.#isAsleep = false;
    const records = this.#leaving.splice(0);
    for (const socket of [...this.#sockets.values()]) {
      if (socket.isClosing && !socket.isUnhandled) this.forget(socket);
      else records.push(socket.record());
      socket.hooksDue();
    }
    // First: what the owner was sent already may need them as soon as it is awake.
    for (const socket of this.#sockets.values()) socket.headForSent(line);
    this.#tellRoll(line, records, "all");
  }

  asleep(): void {
    this.#isAsleep = true;
    for (const socket of this.#sockets.values()) socket.hooksDue();
  }

  hold(): void {
    this.#isHeld = true;
    this.#changed();
  }

  goOn(): void {
    this.#isHeld = false;
    this.#changed();
    this.flushAll();
  }

  moved(line: OwnerLine, { session, epoch }: Moved): void {
    if (!this.isCurrent(line)) return;
    this.#epoch = Math.max(this.#epoch, epoch);
    this.#setup.owns(this.ref.key, session, epoch);
    const process = processOfSession(session);
    const cancelLimit = this.#setup.clock.after(moveLimitMs, () => this.#lose(process));
    this.#state = { name: "moving", process, epoch, cancelLimit };
    this.#isMoved = true;
    this.#isCatchingUp = false;
    this.#changed();
    // One after the owner that was announced waits for what that one has to say, though its own words came first.
    const isNext = this.#waiting[0] !== undefined && this.#waiting[0].hello.epoch <= epoch;
    if (!isNext || !this.#next()) this.#checkEmpty();
  }

  // -- its end

  #changed(): void {
    const state = this.#state;
    const isPlain = state.name === "attached" && !this.#isHeld && !this.#isCatchingUp;
    this.#direct = isPlain && state.line.isDirect ? state.line : undefined;
  }

  #checkEmpty(): void {
    this.#cancelEmpty?.();
    this.#cancelEmpty = undefined;
    if (this.#upgrading.size > 0 || this.#state.name === "over") return;
    if (this.#sockets.size > this.#closingCount) return;
    const isDone = this.#state.name === "unattached" || (this.isLost && this.#sockets.size === 0);
    if (isDone) this.stop();
    else this.#cancelEmpty = this.#setup.clock.after(emptyLimitMs, () => this.stop());
  }

  /** Nobody is connected any more, or the host stops. */
  stop(): void {
    const state = this.#state;
    if (state.name === "over") return;
    this.#cancelEmpty?.();
    this.#state = { name: "over" };
    this.#changed();
    if (state.name === "moving") state.cancelLimit();
    if (state.name === "attached") state.line.end();
    for (const waiting of this.#waiting) {
      this.#withdraw(waiting);
      waiting.line.end();
    }
    this.#setup.forget(this.#upgrading);
  }

  reportApplied(): void {
    if (this.#state.name === "attached") this.#state.line.reportApplied();
  }
}
