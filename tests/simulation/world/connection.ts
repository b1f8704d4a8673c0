import type { Network, Stream } from "./network.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedProcess } from "./simulated-process.ts";

export type Payload = string | Uint8Array;

/** Who sits at one end of a connection. */
export interface EndHandlers {
  message(message: Payload): void;
  closed(code: number, reason: string): void;
}

export interface Place {
  /** Name of the machine on the network. */
  readonly name: string;
  readonly process: SimulatedProcess;
}

/** A connection without a word: what a WebSocket's end is told where there was no closing handshake. */
const brokenOff = 1006;

/**
 * A WebSocket between two places, by what can be seen of it: whole messages in order, until one of its ends closes it, its process
 * ends, or something between them breaks it.
 */
export class Connection {
  readonly left: ConnectionEnd;
  readonly right: ConnectionEnd;

  constructor(scheduler: Scheduler, network: Network, left: Place, right: Place) {
    const there = network.stream(left.name, right.name);
    const back = network.stream(right.name, left.name);
    this.left = new ConnectionEnd(scheduler, left, there);
    this.right = new ConnectionEnd(scheduler, right, back);
    this.left.other = this.right;
    this.right.other = this.left;
  }

  /** Something between them drops it: what is under way is lost, and each end hears so by itself. */
  break(): void {
    for (const end of [this.left, this.right]) end.breakOff();
  }
}

export class ConnectionEnd {
  readonly #scheduler: Scheduler;
  readonly #outgoing: Stream;
  readonly place: Place;
  other: ConnectionEnd | undefined;
  handlers: EndHandlers | undefined;
  /** Told when it is over, before its handlers are. */
  onOver: (() => void) | undefined;
  #isOpen = true;
  #early: Payload[] = [];
  readonly #forgetDeath: () => void;

  constructor(scheduler: Scheduler, place: Place, outgoing: Stream) {
    this.#scheduler = scheduler;
    this.#outgoing = outgoing;
    this.place = place;
    this.#forgetDeath = place.process.onDeath((isSilent) => this.#died(isSilent));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** From now on its messages arrive; those that came before come first. */
  listen(handlers: EndHandlers): void {
    this.handlers = handlers;
    for (const message of this.#early.splice(0)) handlers.message(message);
  }

  /** Runs something at the other end, in line with the messages: what belongs to the making of a connection. */
  tell(run: () => void): void {
    const { other } = this;
    if (this.#isOpen && other) this.#outgoing.send(() => other.onItsLoop(run));
  }

  send(message: Payload): void {
    if (!this.#isOpen) return;
    const copy = typeof message === "string" ? message : new Uint8Array(message);
    const { other } = this;
    this.#outgoing.send(() => other?.arrived(copy));
  }

  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    const { other } = this;
    this.#outgoing.send(() => other?.ended(code, reason));
    this.ended(code, reason);
  }

  breakOff(): void {
    this.#outgoing.break();
    this.ended(brokenOff, "");
  }

  arrived(message: Payload): void {
    if (!this.#isOpen) return;
    this.onItsLoop(() => {
      // It may have been closed here while its process stood.
      if (!this.#isOpen) return;
      if (this.handlers === undefined) this.#early.push(message);
      else this.handlers.message(message);
    });
  }

  /** The connection is over, as far as this end is concerned. */
  ended(code: number, reason: string): void {
    this.onItsLoop(() => {
      if (!this.#isOpen) return;
      this.#isOpen = false;
      this.#forgetDeath();
      this.onOver?.();
      this.handlers?.closed(code, reason);
    });
  }

  onItsLoop(run: () => void): void {
    this.#scheduler.after(0, this.place.process, run);
  }

  /** The kernel of a machine that lives on says so for a process that has ended. */
  #died(isSilent: boolean): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (isSilent) return this.#outgoing.break();
    const { other } = this;
    this.#outgoing.send(() => other?.ended(brokenOff, ""));
  }
}
