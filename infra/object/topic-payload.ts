import { encodeSocketMessage, type SocketData, type TopicPayload } from "./socket-message.ts";
import type { TopicSchema } from "./topic-schema.ts";

/** How a message becomes what goes out, on a topic with that schema. */
export type EncodeMessage<Message> = (schema: TopicSchema | undefined, message: Message) => TopicPayload;

/**
 * A message as a handler gives it, as it goes out. With a schema everything is JSON; without, a text is text, bytes are bytes, and
 * anything else is JSON.
 *
 * @throws StatefulError `invalid_input` for a message that the schema refuses.
 */
export function topicPayload(schema: TopicSchema | undefined, message: unknown): TopicPayload {
  if (schema) return { data: schema.encode(message), form: "json" };
  const data = encodeSocketMessage(message);
  // A copy: whoever passed the bytes may use them again at once, while ours may wait to be sent.
  if (typeof data !== "string") return { data: new Uint8Array(data), form: "bytes" };
  return { data, form: typeof message === "string" ? "text" : "json" };
}

/** What a client said, as `topicPayload` takes it: where there is a schema, its text is JSON. Throws as that does. */
export function clientMessage(schema: TopicSchema | undefined, said: SocketData | BufferSource): unknown {
  if (schema === undefined) return said;
  if (typeof said !== "string") throw schema.refusal("", "it takes JSON, and these are bytes");
  return schema.decode(said);
}

/** What is encoded already: on a topic with a schema it is taken as a client's. */
export function encodedPayload(
  schema: TopicSchema | undefined,
  encoded: SocketData | BufferSource,
): TopicPayload {
  return topicPayload(schema, clientMessage(schema, encoded));
}
