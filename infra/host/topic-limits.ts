import { StatefulError } from "../lib/errors.ts";

const topicNameLengthMax = 256;
const subscriptionsPerSocketMax = 256;

/** Throws `bad_request` for a name that is empty or too long. */
export function checkTopicName(topic: string): void {
  // An author's code may have come by the name in any way: what the type says is checked here.
  const isText = typeof topic === "string" && topic.length >= 1 && topic.length <= topicNameLengthMax;
  if (isText && !topic.startsWith("\0")) return; // Such names are the machinery's own.
  const message = `A topic name is text of 1 to ${topicNameLengthMax} characters, of which the first is not U+0000.`;
  throw new StatefulError("bad_request", message);
}

/** Throws `queue_full` where a socket has all the subscriptions it may. */
export function checkSubscriptionCount(subscriptions: number): void {
  if (subscriptions < subscriptionsPerSocketMax) return;
  const message = `A socket may subscribe to ${subscriptionsPerSocketMax} topics of an object at most.`;
  throw new StatefulError("queue_full", message);
}
