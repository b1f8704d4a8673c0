/**
 * What a link needs below it: whole binary messages, in order, until it closes. Implementations: WebSocket, memory, and
 * one that delays another.
 */
export interface Transport {
  /**
   * From now on messages arrive. Called once; what came earlier was kept for it (`earlyMessagesMax`). The link never has
   * more than its window under way, so a transport needs no back-pressure of its own.
   */
  start(handlers: TransportHandlers): void;

  /**
   * Sends one message. The bytes are the caller's again once this returns. False where the transport is closed or had to
   * drop the message: then it is of no further use.
   */
  send(message: Uint8Array): boolean;

  /** Closes after what was sent; both ends then hear `closed`. Idempotent. */
  close(): void;

  /** Closes now, for a peer that no longer answers: `closed` follows at this end without waiting for the other. */
  abort(): void;
}

export interface TransportHandlers {
  /** The bytes are the receiver's to keep: never written again, and shared with nobody. */
  message(message: Uint8Array): void;
  /** Called once, also after an own `close` or `abort`, and never from inside one. `reason` is for people. */
  closed(reason: string): void;
}

/** Messages kept between the opening of a transport and its `start`: a hello and what came right behind it. */
export const earlyMessagesMax = 64;
