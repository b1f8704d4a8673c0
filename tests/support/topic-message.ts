import type { SocketData } from "../../infra/object/socket-message.ts";
import type { TopicMessage } from "../../infra/topics/topic-message.ts";

/** A message of a topic as a publisher makes it. */
export function said(topic: string, data: SocketData, position?: string): TopicMessage {
  return { topic, data, form: typeof data === "string" ? "text" : "bytes", position };
}
