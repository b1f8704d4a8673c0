import { checkTopicName } from "../host/topic-limits.ts";
import { StatefulError } from "../lib/errors.ts";
import { type ObjectRef, objectRefFromSegment } from "../lib/object-ref.ts";
import type { SubscribeFrame } from "./client-frames.ts";

/** What a subscription asks for: the topic's own address, as a client would write it. */
export interface SubscriptionAddress {
  readonly ref: ObjectRef;
  readonly url: string;
  /** Raw path and query of the URL. */
  readonly target: string;
}

/** @throws StatefulError `bad_request`, `unknown_class` or `bad_object_id`, which refuses the subscription. */
export function subscriptionAddress(origin: string, frame: SubscribeFrame): SubscriptionAddress {
  const ref = refOf(frame.object);
  const url = new URL(`${origin}/${ref.key}/-/topics/${segmentOf(frame.topic)}`);
  // Ours first: of two fields with one name the first counts.
  url.search = [...ownQuery(frame), frame.query ?? ""].filter((part) => part !== "").join("&");
  return { ref, url: url.href, target: url.href.slice(url.origin.length) };
}

function refOf(object: string): ObjectRef {
  const [className = "", segment, ...rest] = object.split("/", 3);
  if (segment === undefined || rest.length > 0)
    throw new StatefulError(
      "bad_request",
      `"${object.slice(0, 100)}" is not <class>/<id>, with the id percent-encoded.`,
    );
  return objectRefFromSegment(className, segment);
}

/** Names that no URL can carry are no topic's: "." and ".." disappear in every parser before a server sees them. */
function segmentOf(topic: string): string {
  checkTopicName(topic);
  if (topic === "." || topic === "..")
    throw new StatefulError("bad_request", `A topic called "${topic}" has no address.`);
  return encoded("topic", topic);
}

function ownQuery({ since, presence }: SubscribeFrame): string[] {
  const fields = presence ? ["presence=1"] : [];
  return since === undefined ? fields : [`since=${encoded("since", since)}`, ...fields];
}

function encoded(name: string, text: string): string {
  if (text.isWellFormed()) return encodeURIComponent(text);
  throw new StatefulError("bad_request", `"${name}" is not well-formed Unicode.`);
}
