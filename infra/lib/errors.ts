/**
 * Every failure that leaves this system has one of these codes. The table is the single place that maps a code to its
 * HTTP status, to the WebSocket close code for the same failure on a socket, and to whether the same call may simply be
 * sent again. Bodies follow RFC 9457 (problem details); close codes follow RFC 6455 section 7.4, with 4000-4999 ours.
 *
 * `retry: true` promises that the handler did not run, so repeating the call cannot do its work twice.
 */
interface ErrorRow {
  readonly status: number;
  readonly close: number;
  readonly retry: boolean;
  readonly title: string;
}

const errorTable = {
  bad_request: { status: 400, close: 1008, retry: false, title: "The request cannot be understood" },
  bad_object_id: { status: 400, close: 1008, retry: false, title: "The object id is not valid" },
  unauthorized: { status: 401, close: 4401, retry: false, title: "Credentials are missing or wrong" },
  forbidden: { status: 403, close: 4403, retry: false, title: "Not allowed" },
  topic_closed: { status: 403, close: 4403, retry: false, title: "The topic is not open to clients" },
  not_found: { status: 404, close: 4404, retry: false, title: "Nothing is here" },
  unknown_class: { status: 404, close: 4404, retry: false, title: "No host has this class" },
  body_too_large: { status: 413, close: 1009, retry: false, title: "The body is over the limit" },
  storage_limit: { status: 413, close: 1009, retry: false, title: "Over a limit of the object's storage" },
  invalid_input: { status: 422, close: 1007, retry: false, title: "The input does not match the schema" },
  upgrade_required: { status: 426, close: 1002, retry: false, title: "This address speaks WebSocket" },
  headers_too_large: { status: 431, close: 1009, retry: false, title: "The headers are over the limit" },
  already_subscribed: { status: 409, close: 1008, retry: false, title: "The subscription exists already" },
  move_failed: { status: 409, close: 1013, retry: false, title: "The object was not moved" },
  queue_full: { status: 429, close: 1013, retry: true, title: "The object has too many open events" },
  address_limit: { status: 429, close: 1013, retry: true, title: "Too much at once from one address" },
  handler_failed: { status: 500, close: 1011, retry: false, title: "The handler failed" },
  start_failed: { status: 500, close: 1011, retry: true, title: "The object could not start" },
  internal: { status: 500, close: 1011, retry: false, title: "Internal error" },
  outcome_unknown: { status: 502, close: 1012, retry: false, title: "The owner was lost before it answered" },
  no_eligible_host: { status: 503, close: 1013, retry: true, title: "No eligible host for this object" },
  owner_unreachable: {
    status: 503,
    close: 1013,
    retry: true,
    title: "The owner cannot be reached from here",
  },
  version_mismatch: {
    status: 503,
    close: 1013,
    retry: true,
    title: "The two hosts have no protocol version in common",
  },
  not_owner: { status: 503, close: 1012, retry: true, title: "The object is not here" },
  session_over: { status: 503, close: 1012, retry: true, title: "The host lost its session" },
  activation_over: { status: 503, close: 1012, retry: false, title: "This activation has ended" },
  fenced: { status: 503, close: 1012, retry: false, title: "The write was refused: the object moved on" },
  storage_backlog: { status: 503, close: 1013, retry: true, title: "Too much waits to be written" },
  directory_unavailable: { status: 503, close: 1013, retry: true, title: "The directory does not answer" },
  directory_recovering: {
    status: 503,
    close: 1013,
    retry: true,
    title: "The directory lost memory; waiting it out",
  },
  host_draining: { status: 503, close: 1012, retry: true, title: "The host is going away" },
  host_full: { status: 503, close: 1013, retry: true, title: "The host is at its limit" },
  link_overloaded: {
    status: 503,
    close: 1013,
    retry: true,
    title: "The link between two hosts is overloaded",
  },
  backpressure: { status: 503, close: 4408, retry: false, title: "The reader is too slow" },
  memory_limit: { status: 507, close: 1011, retry: false, title: "The object took too much memory" },
  call_cycle: {
    status: 508,
    close: 1011,
    retry: false,
    title: "The call comes back to an object that waits for it",
  },
  hop_limit: { status: 508, close: 1013, retry: true, title: "The request was forwarded too often" },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Sent as `Retry-After`, rounded up to whole seconds (RFC 9110, section 10.2.3). Default: 1 s where the code may be retried. */
  readonly retryAfterMs?: number;
  /** Members added to the problem document. Never secrets: a client reads them. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What is said where nobody knows better: whoever may come again is told when. */
const retryAfterMsDefault = 1000;

/** A failure with a code. The message names the thing, the value and what to do next. */
export class StatefulError extends Error {
  override readonly name = "StatefulError";
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get closeCode(): number {
    return errorTable[this.code].close;
  }

  /** True where the handler certainly did not run. */
  get retryable(): boolean {
    return errorTable[this.code].retry;
  }

  /**
   * Elysia asks a thrown error for its response. This makes every `StatefulError` an author lets through a problem
   * document, without a hook of ours in the author's chain.
   */
  toResponse(): Response {
    return problem(this);
  }
}

/** The shape on the wire, `application/problem+json` (RFC 9457). `retryable` and `code` are our extension members. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryable: boolean;
  readonly [member: string]: unknown;
}

export function problemDetails(error: StatefulError): ProblemDetails {
  const row = errorTable[error.code];
  return {
    // First, so that no detail can pass itself off as the status or the code.
    ...error.details,
    type: `urn:stateful-objects:error:${error.code}`,
    title: row.title,
    status: row.status,
    code: error.code,
    detail: error.message,
    retryable: row.retry,
  };
}

export function problem(error: StatefulError): Response {
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  const retryAfterMs = error.retryAfterMs ?? (error.retryable ? retryAfterMsDefault : undefined);
  if (retryAfterMs !== undefined) {
    headers.set("retry-after", String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
  }
  // A 426 must say to what one should upgrade (RFC 9110, section 15.5.22).
  if (error.status === 426) headers.set("upgrade", "websocket");
  return new Response(problemJson(error), { status: error.status, headers });
}

/** The document as it is sent. */
export function problemJson(error: StatefulError): string {
  try {
    return JSON.stringify(problemDetails(error));
  } catch {
    // Details that JSON cannot hold (a BigInt, a cycle) must not turn one failure into another.
    const { code, message } = error;
    return JSON.stringify(problemDetails(new StatefulError(code, message)));
  }
}

/** Anything thrown, as an error of ours. An unknown one shows the caller nothing but `internal`. */
export function asStatefulError(thrown: unknown, fallback: ErrorCode = "internal"): StatefulError {
  if (thrown instanceof StatefulError) return thrown;
  return new StatefulError(fallback, errorTable[fallback].title, { cause: thrown });
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(errorTable, value);
}

/** All rows, for documentation and for the test that keeps it true. */
export function errorCodes(): ReadonlyArray<{ readonly code: ErrorCode } & ErrorRow> {
  // The keys of a literal are exactly its codes; Object.keys widens them to string.
  return (Object.keys(errorTable) as ErrorCode[]).map((code) => ({ code, ...errorTable[code] }));
}
