import { StatefulError } from "../lib/errors.ts";
import { isDeeper, jsonDepthMax } from "../lib/json-depth.ts";
import { isLongerThan, type SocketData, type TopicPayload } from "../object/socket-message.ts";

/** Bytes of what a client says on a connection for many, a `publish` excepted: of that, its class says how long it may be. */
export const clientFrameBytesMax = 1024 * 1024;

/** Lists and objects within each other in a frame. Writing some that are nested by the thousand takes seconds. */
const frameDepthMax = jsonDepthMax;

/** What a client may say there (`topics/PROTOCOL.md`). */
export type ClientFrame =
  | { readonly type: "hello"; readonly headers: Readonly<Record<string, string>> }
  | SubscribeFrame
  | { readonly type: "unsubscribe"; readonly id: number }
  | {
      readonly type: "publish";
      readonly id: number;
      readonly payload: TopicPayload;
      /** Under which its client wants to hear what became of it. */
      readonly ref: number | undefined;
    }
  | { readonly type: "ping" };

export interface SubscribeFrame {
  readonly type: "subscribe";
  readonly id: number;
  readonly object: string;
  readonly topic: string;
  readonly since: string | undefined;
  readonly presence: boolean;
  readonly query: string | undefined;
}

/** @throws StatefulError whose code and message a close says: `bad_request` for what is no frame, `body_too_large` for a long one. */
export function readClientFrame(data: SocketData): ClientFrame {
  if (typeof data !== "string") throw wrong("A frame is a text with one JSON object in it; these are bytes.");
  const frame = readFrame(fieldsOf(data));
  if (frame.type !== "publish" && isLongerThan(data, clientFrameBytesMax))
    throw new StatefulError("body_too_large", `A frame has ${clientFrameBytesMax} bytes at most.`);
  return frame;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(text: string): Fields {
  if (isDeeper(text, frameDepthMax)) throw wrong(`A frame is nested ${frameDepthMax} deep at most.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong("A frame is one JSON object, and this is no JSON.");
  }
  if (isFields(value)) return value;
  throw wrong("A frame is one JSON object.");
}

function readFrame(fields: Fields): ClientFrame {
  const { type } = fields;
  switch (type) {
    case "hello":
      checkNames(type, fields, ["headers"]);
      return { type, headers: textsAt(fields, "headers") };
    case "subscribe":
      return readSubscribe(fields);
    case "unsubscribe":
      checkNames(type, fields, ["id"]);
      return { type, id: numberAt(fields, "id") };
    case "publish":
      checkNames(type, fields, ["id", "ref", ...payloadNames]);
      return { type, id: numberAt(fields, "id"), payload: payloadOf(fields), ref: refOf(fields) };
    case "ping":
      checkNames(type, fields, []);
      return { type };
    default:
      throw wrong(`No frame of a client has the type ${shown(type)}.`);
  }
}

function readSubscribe(fields: Fields): SubscribeFrame {
  checkNames("subscribe", fields, ["id", "object", "topic", "since", "presence", "query"]);
  const presence = Object.hasOwn(fields, "presence");
  if (presence && fields.presence !== true) throw wrong('"presence" is true or not there.');
  return {
    type: "subscribe",
    id: numberAt(fields, "id"),
    object: textAt(fields, "object"),
    topic: textAt(fields, "topic"),
    since: optionalTextAt(fields, "since"),
    presence,
    query: optionalTextAt(fields, "query"),
  };
}

const payloadNames = ["data", "text", "bytes"];

function payloadOf(fields: Fields): TopicPayload {
  const given = payloadNames.filter((name) => Object.hasOwn(fields, name));
  if (given.length !== 1) throw wrong('A "publish" has one of "data", "text" and "bytes".');
  if (given[0] === "data") return { data: JSON.stringify(fields.data), form: "json" };
  if (given[0] === "text") return { data: textAt(fields, "text"), form: "text" };
  try {
    return { data: Uint8Array.fromBase64(textAt(fields, "bytes")), form: "bytes" };
  } catch {
    throw wrong('"bytes" is not base64.');
  }
}

function refOf(fields: Fields): number | undefined {
  return Object.hasOwn(fields, "ref") ? numberAt(fields, "ref") : undefined;
}

function numberAt(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw wrong(`"${name}" is a whole number from 1, not ${shown(value)}.`);
}

function textAt(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  throw wrong(`"${name}" is a text, not ${shown(value)}.`);
}

function optionalTextAt(fields: Fields, name: string): string | undefined {
  return Object.hasOwn(fields, name) ? textAt(fields, name) : undefined;
}

function textsAt(fields: Fields, name: string): Readonly<Record<string, string>> {
  const value = fields[name];
  if (isFields(value) && isTexts(value)) return value;
  throw wrong(`"${name}" is an object of texts.`);
}

function checkNames(type: string, fields: Fields, known: readonly string[]): void {
  const unknown = Object.keys(fields).find((name) => name !== "type" && !known.includes(name));
  if (unknown !== undefined) throw wrong(`"${type}" has no field ${shown(unknown)}.`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(value: Fields): value is Readonly<Record<string, string>> {
  return Object.values(value).every((text) => typeof text === "string");
}

/** A value in a message that has to be short. */
function shown(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 40);
}

function wrong(what: string): StatefulError {
  return new StatefulError("bad_request", what);
}
