import { errorCodes } from "../../infra/lib/errors.ts";
import { withoutRetryAfter } from "./attack.ts";

/** Closes that say that nothing went wrong: what RFC 6455 has for an end in order, and for a host that goes away. */
const orderlyCloses = [1000, 1001, 1012];
const retryMark = ` ${withoutRetryAfter}`;

/**
 * What is wrong with what a load has met: an answer that the scenario does not expect, or that the README's table of errors does
 * not explain, or one that may be retried and does not say when.
 *
 * @param expected as `Tally` writes them, without what it says of `Retry-After`
 */
export function unexplained(tally: Readonly<Record<string, number>>, expected: readonly string[]): string[] {
  return Object.entries(tally).flatMap(([key, count]) => {
    const plain = key.replace(retryMark, "");
    if (!expected.includes(plain)) return [`${count} times ${plain}, which nobody expects here`];
    const why = fault(plain, key !== plain);
    return why === undefined ? [] : [`${count} times ${plain}: ${why}`];
  });
}

/** The same counts, without what `Tally` says of `Retry-After`. */
export function plainTally(tally: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const plain: Record<string, number> = {};
  for (const [key, count] of Object.entries(tally)) {
    const name = key.replace(retryMark, "");
    plain[name] = (plain[name] ?? 0) + count;
  }
  return plain;
}

function fault(key: string, lacksRetryAfter: boolean): string | undefined {
  const [, status, code] = /^(\d{3}) (\w+)$/.exec(key) ?? [];
  if (status !== undefined) {
    const row = errorCodes().find((candidate) => candidate.code === code);
    if (row === undefined || row.status !== Number(status)) return "no such row in the table of errors";
    return row.retry && lacksRetryAfter ? "it may be retried, and does not say when" : undefined;
  }
  const [, close] = /^close (\d+)$/.exec(key) ?? [];
  if (close === undefined) return undefined;
  const isKnown =
    orderlyCloses.includes(Number(close)) || errorCodes().some((row) => row.close === Number(close));
  return isKnown ? undefined : "no row in the table of errors has this close code";
}
