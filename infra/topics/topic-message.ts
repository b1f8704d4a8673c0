import type { PresentIn } from "./topic-presence.ts";
import type { TopicPayload } from "../object/socket-message.ts";

export type { MessageForm, TopicPayload } from "../object/socket-message.ts";

/** One message of a topic, on its way to everyone who listens. */
export interface TopicMessage extends TopicPayload {
  readonly topic: string;
  /** Its place in the topic's history; undefined where the topic keeps none. */
  readonly position: string | undefined;
}

/** How a subscription begins, or goes on where it may have missed something. */
export interface TopicStart {
  /** Where it stands before what was missed; undefined where the topic keeps no history. */
  readonly position: string | undefined;
  /** Whether `missed` is all that was asked for; undefined where nothing was. */
  readonly recovered: boolean | undefined;
  /** In order. Empty unless `recovered` or `oldest` was asked for. */
  readonly missed: readonly MissedMessage[];
  /** What is to become of messages that the subscriber is too slow for; undefined where it is closed then. */
  readonly slowReaders?: "drop-oldest" | "conflate" | undefined;
  /** Where the topic has presence: what the subscriber is in it. `snapshot`: the JSON of who is there, for one who watches. */
  readonly presence?: (PresentIn & { readonly snapshot: string | undefined }) | undefined;
}

/** Where a subscription stands once it has been told what it missed. */
export function positionAfter({ position, missed }: TopicStart): string | undefined {
  return missed.at(-1)?.position ?? position;
}

/** What a message takes that waits to be told again, beside itself, which the history has in any case. */
const missedBytes = 128;

/** What a start keeps in memory while it waits. */
export function waitingBytesOf({ missed }: TopicStart): number {
  return missedBytes * missed.length;
}

/** A message of the past. */
export interface MissedMessage extends TopicPayload {
  readonly position: string;
}
