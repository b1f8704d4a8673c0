import type { PublishOutcome } from "../object/subscription-message.ts";
import type { SocketData, TopicPayload } from "../object/socket-message.ts";

/** What a host says on a connection for many (`topics/PROTOCOL.md`), as texts. */

export const pongFrame = JSON.stringify({ type: "pong" });

export function welcomeFrame(host: string, region: string, protocol: number): string {
  return JSON.stringify({ type: "welcome", host, region, protocol });
}

/** One subscription, as its client names it. */
export interface SubscriptionName {
  readonly id: number;
  /** The object's key: one spelling for all who subscribe. */
  readonly object: string;
  readonly topic: string;
}

export function subscribedFrame(
  { id, object, topic }: SubscriptionName,
  position: string | undefined,
  recovered: boolean | undefined,
): string {
  return JSON.stringify({ type: "subscribed", id, object, topic, position, recovered });
}

export function unsubscribedFrame(
  { id, object, topic }: SubscriptionName,
  code: number,
  reason: string,
): string {
  return JSON.stringify({ type: "unsubscribed", id, object, topic, code, reason });
}

export function refusedFrame(id: number, status: number, error: object): string {
  return JSON.stringify({ type: "refused", id, status, error });
}

export function outcomeFrame(id: number, { type, ...outcome }: PublishOutcome): string {
  return JSON.stringify({ type, id, ...outcome });
}

export function skippedFrame(object: string, topic: string, count: number): string {
  return JSON.stringify({ type: "skipped", object, topic, count });
}

/** @param json of an object: who is there, or who has come and left */
export function presenceFrame(object: string, topic: string, json: string): string {
  return `{"type":"presence","object":${JSON.stringify(object)},"topic":${JSON.stringify(topic)},${json.slice(1)}`;
}

/** The beginning of every `message` of a topic. */
export function messageStart(object: string, topic: string): string {
  return `{"type":"message","object":${JSON.stringify(object)},"topic":${JSON.stringify(topic)}`;
}

export function messageFrame(
  start: string,
  { data, form, position }: TopicPayload & { readonly position: string | undefined },
): string {
  const place = position === undefined ? "" : `,"position":${JSON.stringify(position)}`;
  return `${start}${place},${contentOf(data, form)}}`;
}

/** JSON goes in as it is. */
function contentOf(data: SocketData, form: TopicPayload["form"]): string {
  if (typeof data !== "string") return `"bytes":"${data.toBase64()}"`;
  return form === "json" ? `"data":${data}` : `"text":${JSON.stringify(data)}`;
}
