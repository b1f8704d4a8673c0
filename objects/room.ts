/**
 * Sockets and topics. Whoever is in a room holds a socket, open at the host nearest to them; the room publishes each
 * message once, and every host hands it to its own visitors. Who only wants to listen subscribes to the declared topic:
 * `/room/<id>/-/topics/chat`, as WebSocket or server-sent events.
 */
import { t } from "elysia";
import { object, type Topics } from "stateful-objects";

const said = t.Object({
  from: t.String({ minLength: 1, maxLength: 40 }),
  text: t.String({ minLength: 1, maxLength: 2000 }),
});

interface Room {
  /** The latest, oldest first. */
  readonly messages: Message[];
}
type Message = typeof said.static & { readonly sentAt: string };

const messagesMax = 100;

export default object("room", {
  state: (): Room => ({ messages: [] }),
  // A room sleeps while nobody speaks, and its visitors stay connected: what was said is saved before.
  durability: "snapshot",
  topics: { chat: { subscribe: "anyone" } },
})
  .get("/", ({ state, topics }) => ({ ...state, listeners: topics.subscriberCount("chat") }))
  .post("/messages", ({ body, state, topics }) => say(body, state, topics), { body: said })
  .ws("/live", {
    body: said,
    open(ws) {
      for (const message of ws.data.state.messages) ws.send(message);
      ws.subscribe("chat");
    },
    message(ws, message) {
      say(message, ws.data.state, ws.data.topics);
    },
  });

/** To everyone in the room, the sender included: all of them see one order. */
function say(message: typeof said.static, { messages }: Room, topics: Topics): Message {
  const sent = { ...message, sentAt: new Date().toISOString() };
  messages.push(sent);
  if (messages.length > messagesMax) messages.shift();
  topics.publish("chat", sent);
  return sent;
}
