import { STATUS_CODES } from "node:http";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";

/** What is read of the answer that refuses a subscription, and for how long: an author's hook may answer with anything. */
export const refusalBytesMax = 64 * 1024;
export const refusalLimitMs = 5000;
/** Characters of an answer that is no JSON. */
const detailLengthMax = 1000;

export interface Refusal {
  readonly status: number;
  /** A problem document (RFC 9457). */
  readonly error: object;
}

/** Why a subscription did not begin, from the HTTP response that says so. Never rejects. */
export async function refusalOf(response: Response, clock: Clock): Promise<Refusal> {
  const { status } = response;
  const text = await textOf(response, clock).catch(() => ""); // Whoever made the answer has read it already.
  const general = {
    type: "about:blank",
    title: STATUS_CODES[status] ?? "The subscription was refused",
    status,
  };
  const members = membersOf(text);
  if (members) return { status, error: { ...general, ...members } };
  const detail = text.slice(0, detailLengthMax);
  return { status, error: detail === "" ? general : { ...general, detail } };
}

function membersOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** As much of it as comes within the limits. */
async function textOf({ body }: Response, clock: Clock): Promise<string> {
  const reader = body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  const late = () => new StatefulError("outcome_unknown", "The answer that refuses takes too long.");
  let text = "";
  const read = async () => {
    while (text.length < refusalBytesMax) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
    }
  };
  await withTimeLimit(clock, refusalLimitMs, read(), late).catch(() => undefined); // What has come by then is said.
  reader.cancel().catch(() => undefined); // Nobody reads the rest.
  return text;
}

/** Nobody wants to know any more. */
export function discard({ body }: Response): void {
  body?.cancel().catch(() => undefined); // Somebody reads it, then, or has.
}
