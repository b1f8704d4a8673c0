import { packValue as pack } from "../link/msgpack.ts";
import type { MessageForm, MissedMessage, TopicMessage, TopicStart } from "../topics/topic-message.ts";
import {
  decodeText,
  isCount,
  isTextOrNull,
  isTexts,
  listOf,
  malformed,
  numberAt,
  type Payload,
  unpackList,
  viewOf,
} from "./socket-protocol.ts";

/** What an attachment says of topics: messages, how subscriptions begin, and how far they have come. */

const encoder = new TextEncoder();

export interface Publish {
  readonly message: TopicMessage;
  /** Number of the socket at that edge that must not hear it; 0 for none. */
  readonly except: number;
}

/**
 * Text stays text: lengths of topic and position, excluded socket, "j" for JSON or "t"; then topic, position, message. Bytes:
 * u32 socket, u16 and u8 lengths; then the same.
 */
export function encodePublish({ message, except }: Publish): Payload {
  const { topic, data, form, position = "" } = message;
  if (typeof data === "string") {
    const lengths = `${topic.length.toString(36)}:${position.length.toString(36)}`;
    return `${lengths}:${except.toString(36)}:${form === "json" ? "j" : "t"}${topic}${position}${data}`;
  }
  const [name, place] = [encoder.encode(topic), encoder.encode(position)];
  const bytes = new Uint8Array(publishHeadBytes + name.length + place.length + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, except);
  view.setUint16(4, name.length);
  view.setUint8(6, place.length);
  bytes.set(name, publishHeadBytes);
  bytes.set(place, publishHeadBytes + name.length);
  bytes.set(data, publishHeadBytes + name.length + place.length);
  return bytes;
}

const publishHeadBytes = 7;

export function decodePublish(payload: Payload): Publish {
  if (typeof payload !== "string") return decodePublishedBytes(payload);
  const first = payload.indexOf(":");
  const second = payload.indexOf(":", first + 1);
  const third = payload.indexOf(":", second + 1);
  const topicStart = third + 2;
  const topicEnd = topicStart + numberAt(payload, 0, first);
  const end = topicEnd + numberAt(payload, first + 1, second);
  const except = numberAt(payload, second + 1, third);
  const form = payload[third + 1] === "j" ? "json" : "text";
  if (end > payload.length) throw malformed("publish");
  const position = payload.slice(topicEnd, end) || undefined;
  const topic = payload.slice(topicStart, topicEnd);
  return { message: { topic, data: payload.slice(end), form, position }, except };
}

function decodePublishedBytes(bytes: Uint8Array): Publish {
  if (bytes.length < publishHeadBytes) throw malformed("publish");
  const view = viewOf(bytes);
  const topicEnd = publishHeadBytes + view.getUint16(4);
  const end = topicEnd + view.getUint8(6);
  if (end > bytes.length) throw malformed("publish");
  const topic = decodeText(bytes.subarray(publishHeadBytes, topicEnd));
  const position = decodeText(bytes.subarray(topicEnd, end)) || undefined;
  return {
    message: { topic, data: bytes.subarray(end), form: "bytes", position },
    except: view.getUint32(0),
  };
}

/** `listen`: one socket subscribes. `fill`: all that do, whose number is 0. */
export interface NumberedStart {
  readonly number: number;
  readonly topic: string;
  readonly start: TopicStart;
}

export function encodeStartOf({ number, topic, start }: NumberedStart): Uint8Array {
  const { position, recovered, missed, presence, slowReaders } = start;
  const presentIn = presence && [presence.data ?? null, presence.watches, presence.snapshot ?? null];
  const messages = missed.flatMap(({ data, form, position }) => [data, form === "json", position]);
  return pack([
    number,
    topic,
    position ?? null,
    recovered ?? null,
    messages,
    presentIn ?? null,
    slowReaders ?? null,
  ]);
}

export function decodeStartOf(payload: Payload): NumberedStart {
  const [number, topic, position, recovered, messages, presentIn, policy] = unpackList(payload, "start");
  if (!isCount(number) || typeof topic !== "string") throw malformed("start");
  if (!isTextOrNull(position) || !(recovered === null || typeof recovered === "boolean"))
    throw malformed("start");
  const missed = decodeMissed(listOf(messages, "start"));
  if (policy !== null && policy !== "drop-oldest" && policy !== "conflate") throw malformed("start");
  return {
    number,
    topic,
    start: {
      position: position ?? undefined,
      recovered: recovered ?? undefined,
      missed,
      ...(policy !== null && { slowReaders: policy }),
      ...(presentIn !== null && { presence: decodePresence(presentIn) }),
    },
  };
}

function decodePresence(presentIn: unknown): NonNullable<TopicStart["presence"]> {
  const [data, watches, snapshot] = listOf(presentIn, "start");
  if (!isTextOrNull(data) || typeof watches !== "boolean" || !isTextOrNull(snapshot))
    throw malformed("start");
  return { data: data ?? undefined, watches, snapshot: snapshot ?? undefined };
}

function decodeMissed(flat: readonly unknown[]): readonly MissedMessage[] {
  const missed: MissedMessage[] = [];
  for (let index = 0; index < flat.length; index += 3) {
    const [data, isJson, position] = flat.slice(index, index + 3);
    if (!(typeof data === "string" || data instanceof Uint8Array) || typeof position !== "string")
      throw malformed("start");
    const form: MessageForm = typeof data !== "string" ? "bytes" : isJson === true ? "json" : "text";
    missed.push({ data, form, position });
  }
  return missed;
}

/** `positions`: the last that came of each topic. */
export function encodePositions(positions: ReadonlyMap<string, string>): Uint8Array {
  return pack([...positions].flat());
}

export function decodePositions(payload: Payload): ReadonlyMap<string, string> {
  const flat = unpackList(payload, "positions");
  if (!isTexts(flat) || flat.length % 2 !== 0) throw malformed("positions");
  const positions = new Map<string, string>();
  for (let index = 0; index < flat.length; index += 2)
    positions.set(flat[index] ?? "", flat[index + 1] ?? "");
  return positions;
}
