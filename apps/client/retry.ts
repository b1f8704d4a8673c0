import type { Problem } from "./errors.ts";
import type { ReconnectOptions } from "./options.ts";
import type { Surroundings } from "./surroundings.ts";

/** What the table of close codes says of trying again; `credentials`: once, with fresh ones. */
export type Retry = "yes" | "slowly" | "credentials" | "no";

/** 1005 is a close without a code, and 1015 a failed handshake of TLS: a client sees both and no host sends them. */
const retryOfCode: Readonly<Record<number, Retry>> = {
  1001: "yes",
  1005: "yes",
  1006: "yes",
  1011: "slowly",
  1012: "yes",
  1013: "slowly",
  1015: "yes",
  4401: "credentials",
  4408: "yes",
};

export function retryAfterClose(code: number): Retry {
  return retryOfCode[code] ?? "no";
}

/** The same for a subscription that did not begin. What fails on the host's side may go well later; what we did may not. */
export function retryAfterRefusal(status: number, problem: Problem): Retry {
  if (status === 401) return "credentials";
  const mayGoWell = problem.retryable === true || status === 408 || status === 429 || status >= 500;
  return mayGoWell ? "slowly" : "no";
}

type Delays = Pick<
  ReconnectOptions,
  "minReconnectionDelay" | "maxReconnectionDelay" | "reconnectionDelayGrowFactor"
>;

/**
 * Milliseconds to wait before the next try. `failures` counts what failed one after the other and `ways` the addresses to
 * try: those that were not tried in this round follow quickly, and only a whole round in vain makes the delay grow. Random
 * in all cases, so that the clients of a lost host do not come back as one.
 */
export function retryDelayMs(
  delays: Required<Delays>,
  { failures, ways, retry }: { readonly failures: number; readonly ways: number; readonly retry: Retry },
  around: Pick<Surroundings, "random">,
): number {
  const { minReconnectionDelay, maxReconnectionDelay, reconnectionDelayGrowFactor } = delays;
  const isSlow = retry === "slowly";
  if (!isSlow && (failures % ways !== 0 || failures === 0)) return around.random() * minReconnectionDelay;
  const rounds = Math.max(1, Math.ceil(failures / ways));
  const grown = minReconnectionDelay * reconnectionDelayGrowFactor ** (rounds - 1);
  const limited = Math.min(maxReconnectionDelay, isSlow ? Math.max(grown, maxReconnectionDelay / 2) : grown);
  return limited * (0.5 + around.random() / 2);
}
