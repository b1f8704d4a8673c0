import type { ProblemDetails } from "../../infra/object/index.ts";
import type { Gap } from "./subscription.ts";

/**
 * - `bad_argument`: the call itself is wrong; the message says what to change.
 * - `no_websocket`: there is no global `WebSocket`, and none was passed.
 * - `closed`: the client, or this socket, has been closed for good.
 * - `queue_full`: as much waits to be sent as `maxEnqueuedMessages` allows.
 * - `too_large`: no host takes a message of this length.
 * - `too_many`: more connections would be needed than a client may have.
 * - `not_published`: the object does not take the message; `problem` says why.
 * - `outcome_unknown`: the connection was lost before the host had said that the message is published. It may be, or not.
 * - `refused`: the object does not let us subscribe; `problem` says why.
 * - `ended`: the host has ended it; `close` says how.
 * - `gap`: messages are missing here; `gap` says which kind.
 */
export type ClientErrorCode =
  | "bad_argument"
  | "no_websocket"
  | "closed"
  | "queue_full"
  | "too_large"
  | "too_many"
  | "not_published"
  | "outcome_unknown"
  | "refused"
  | "ended"
  | "gap";

/** A problem document (RFC 9457), as far as it was written: the author of a class may refuse in another form. */
export type Problem = Partial<ProblemDetails>;

/** How a connection or a subscription ended: a code of the table in PROTOCOL.md, and what was said with it. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

export interface ClientErrorDetails {
  readonly problem?: Problem | undefined;
  readonly close?: Closing | undefined;
  readonly gap?: Gap | undefined;
}

/** A failure of the client's. `code` is for programs, the message names the thing and says what to do. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  declare readonly code: ClientErrorCode;
  declare readonly problem: Problem | undefined;
  declare readonly close: Closing | undefined;
  declare readonly gap: Gap | undefined;

  constructor(code: ClientErrorCode, message: string, details?: ClientErrorDetails) {
    super(message);
    Object.assign(this, { code }, details);
  }
}

/** Whether a value, such as the `error.value` of a call, is a problem document of ours, which has a `code`. */
export function isProblem(value: unknown): value is ProblemDetails {
  return typeof value === "object" && value !== null && "code" in value && "retryable" in value;
}

export function queueFull(maxEnqueuedMessages: number): ClientError {
  return new ClientError("queue_full", `${maxEnqueuedMessages} messages wait already (maxEnqueuedMessages).`);
}

export function clientClosed(): ClientError {
  return new ClientError("closed", "The client is closed. Make another with connect().");
}
