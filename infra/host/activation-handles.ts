import { StatefulError } from "../lib/errors.ts";
import type { Sockets, Topics } from "../object/context.ts";
import { encodeSocketMessage } from "../object/socket-message.ts";
import { topicPayload } from "../object/topic-payload.ts";
import type { Activation } from "./activation.ts";
import type { TopicEdge } from "../topics/topic-hub.ts";
import { slowReaderCloseCode, type VirtualSocket } from "./virtual-socket.ts";

/** `topics` as an author sees it. */
export function topicsOf(activation: Activation): Topics {
  return {
    publish(topic, message) {
      const { schema } = activation.runtime.definition.topics.get(topic) ?? {};
      return activation.publish(topic, topicPayload(schema, message));
    },
    subscriberCount: (topic) => activation.hub.subscriberCount(topic),
    presence: (topic) => presentIn(activation, topic),
  };
}

function presentIn(activation: Activation, topic: string) {
  const presence = activation.presenceOf(topic);
  if (presence === undefined) throw withoutPresence(activation.ref.className, topic);
  return { count: presence.count, members: presence.members() };
}

function withoutPresence(className: string, topic: string): StatefulError {
  const message = `The topic "${topic.slice(0, 80)}" of ${className} has no presence: declare it with presence: true.`;
  return new StatefulError("bad_request", message);
}

/** `sockets` as an author sees it. */
export function socketsOf(open: ReadonlySet<VirtualSocket>): Sockets {
  return {
    count: open.size,
    list: ({ tag } = {}) =>
      [...open].filter((socket) => tag === undefined || socket.tags.includes(tag)).map(socketInfo),
    closeAll(code, reason) {
      for (const socket of [...open]) socket.close(code, reason);
    },
  };
}

function socketInfo(socket: VirtualSocket) {
  return {
    id: socket.id,
    remoteAddress: socket.remoteAddress,
    subscriptions: socket.subscriptions,
    tags: socket.tags,
    attachment: socket.attachment,
    // Text, or bytes that encoding made: never a shared buffer, which is all that the cast leaves out.
    send: (message: unknown) => socket.send(encodeSocketMessage(message) as string | Uint8Array<ArrayBuffer>),
    close: (code?: number, reason?: string) => socket.close(code, reason),
  };
}

/** A publish that an edge could not take was missed by everyone who listens there: they are told, before they hear what came after it. */
export function closeUndelivered(
  sockets: ReadonlySet<VirtualSocket>,
  edges: readonly TopicEdge[],
  topic: string,
): void {
  for (const socket of [...sockets]) {
    if (!edges.includes(socket.edge) || !socket.isSubscribed(topic)) continue;
    socket.closeAtOnce(
      slowReaderCloseCode,
      "A message could not be delivered: the way to your edge is congested.",
    );
  }
}
