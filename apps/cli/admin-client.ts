import { hasMoreHeader, messagePackType } from "../../infra/host/system-calls.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import { decodeValue } from "../../infra/storage/storage-codec.ts";

/** Why a command could not be done, and what to do next, as a sentence for a person. */
export class AdminError extends Error {
  override readonly name = "AdminError";
  /** What the host refused it with; undefined where none answered. */
  readonly code: string | undefined;

  constructor(message: string, code?: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Answer {
  /** Decoded: values as they are stored, or what JSON says; undefined without a body. */
  readonly value: unknown;
  /** Whether a list was cut by its limit. */
  readonly hasMore: boolean;
}

export interface Call {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Path below the object. */
  readonly call: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** JSON. */
  readonly body?: string;
  /** Values as JSON that describes them, instead of the values themselves. */
  readonly asJson?: boolean;
}

/** An object may have to be started, and its host looked for: longer than either takes. */
const answerLimitMs = 60_000;
const jsonType = "application/json";

/** Talks to a host's admin API (`infra/edge/admin-routes.ts`). */
export class AdminClient {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /** A call to one object. Rejects with an `AdminError`. */
  object(ref: ObjectRef, call: Call): Promise<Answer> {
    return this.#call(`/-/objects/${ref.key}/${call.call}`, call);
  }

  /** Alarms of all objects. */
  alarms(query: NonNullable<Call["query"]>): Promise<Answer> {
    return this.#call("/-/alarms", { method: "GET", call: "", query });
  }

  async #call(path: string, { method, query = {}, body, asJson }: Call): Promise<Answer> {
    const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const search = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
    const response = await this.#fetch(`${this.#url}${path}${search}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        accept: asJson ? jsonType : messagePackType,
        ...(body !== undefined && { "content-type": jsonType }),
      },
      ...(body !== undefined && { body }),
      redirect: "manual", // The token is for this host and no other.
      signal: AbortSignal.timeout(answerLimitMs),
    });
    const bytes = await bytesOf(response, this.#url);
    if (!response.ok) throw this.#refused(response.status, bytes);
    return { value: this.#decoded(response, bytes), hasMore: response.headers.get(hasMoreHeader) === "1" };
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, init);
    } catch (cause) {
      if (cause instanceof TypeError && /header/i.test(cause.message))
        throw new AdminError(
          "The token has characters that no token can have: see --token, STATEFUL_ADMIN_TOKEN.",
        );
      throw notAnswering(this.#url, cause);
    }
  }

  #decoded(response: Response, bytes: Uint8Array): unknown {
    if (response.status === 204) return undefined;
    const type = response.headers.get("content-type") ?? "";
    try {
      if (type.startsWith(messagePackType)) return decodeValue(bytes);
      if (type.startsWith(jsonType)) return JSON.parse(new TextDecoder().decode(bytes));
    } catch (cause) {
      throw new AdminError(`${this.#url} answered with what cannot be read.`, undefined, { cause });
    }
    throw this.#stranger();
  }

  #refused(status: number, bytes: Uint8Array): AdminError {
    const problem = problemOf(bytes);
    if (problem === undefined) return this.#stranger(status);
    const { code, detail, retryable } = problem;
    return new AdminError([detail, advice(code, retryable)].filter(Boolean).join("\n"), code);
  }

  #stranger(status?: number): AdminError {
    const answered = status === undefined ? "answered" : `answered ${status}`;
    const message = `${this.#url} ${answered}, but not as a host of this version does. See --url, STATEFUL_URL.`;
    return new AdminError(message);
  }
}

function notAnswering(url: string, cause: unknown): AdminError {
  if (cause instanceof DOMException && cause.name === "TimeoutError")
    return new AdminError(
      `${url} has not answered within ${answerLimitMs / 1000} s. What was to be written may be.`,
      undefined,
      { cause },
    );
  const message = `No host answers at ${url}. Start one with "bun run dev", or name one with --url or STATEFUL_URL.`;
  return new AdminError(message, undefined, { cause });
}

async function bytesOf(response: Response, url: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw notAnswering(url, cause);
  }
}

interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly retryable: boolean;
}

/** Undefined for what no host of ours says. */
function problemOf(bytes: Uint8Array): Problem | undefined {
  try {
    const { code, detail, retryable } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof code !== "string" || typeof detail !== "string") return undefined;
    return { code, detail, retryable: retryable === true };
  } catch {
    return undefined;
  }
}

function advice(code: string, isRetryable: boolean): string | undefined {
  if (code === "unauthorized")
    return "Give the token that the host was started with: --token or STATEFUL_ADMIN_TOKEN.";
  if (code === "outcome_unknown") return "Look before you try again: it may have been done.";
  return isRetryable ? "Nothing was done. Try again." : undefined;
}
