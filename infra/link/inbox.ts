import { earlyMessagesMax, type TransportHandlers } from "./transport.ts";

/** What arrives on a transport, kept until a link starts to listen; and its end, told once and never from inside a call. */
export class Inbox {
  readonly #abort: () => void;
  readonly #early: Uint8Array[] = [];
  #handlers: TransportHandlers | undefined;
  #closedBecause: string | undefined;

  constructor(abort: () => void) {
    this.#abort = abort;
  }

  get isOpen(): boolean {
    return this.#closedBecause === undefined;
  }

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    for (const message of this.#early.splice(0)) handlers.message(message);
    const reason = this.#closedBecause;
    if (reason !== undefined) queueMicrotask(() => handlers.closed(reason));
  }

  /** A link speaks in bytes: a message of text is not from one of us. */
  message(message: string | Uint8Array): void {
    if (!this.isOpen) return;
    if (typeof message === "string") this.#abort();
    else if (this.#handlers !== undefined) this.#handlers.message(message);
    else if (this.#early.push(message) > earlyMessagesMax) this.#abort();
  }

  closed(because: string): void {
    if (!this.isOpen) return;
    this.#closedBecause = because;
    // Whatever is below may call this from inside our own `close`; a transport promises that nobody hears of it there.
    queueMicrotask(() => this.#handlers?.closed(because));
  }
}
