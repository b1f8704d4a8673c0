/**
 * Sockets and topics. Whoever is in a room holds a socket, open at the host nearest to them; the room publishes each
 * message once, and every host hands it to its own visitors. Who only wants to listen subscribes to the declared topic:
 * `/room/<id>/-/topics/chat`, as WebSocket or server-sent events. Its schema says what is heard there: to the compiler, to the
 * object when it publishes, and to clients, by `TopicsOf<typeof room>`.
 */
import { t } from "elysia";
import { object, type Topics, topic } from "stateful-objects";

const said = t.Object({
  from: t.String({ minLength: 1, maxLength: 40 }),
  text: t.String({ minLength: 1, maxLength: 2000 }),
});

const heard = t.Object({ ...said.properties, sentAt: t.String({ format: "date-time" }) });
type Message = typeof heard.static;

interface Room {
  /** The latest, oldest first. */
  readonly messages: Message[];
}

const messagesMax = 100;

export default object("room", {
  state: (): Room => ({ messages: [] }),
  // A room sleeps while nobody speaks, and its visitors stay connected: what was said is saved before.
  durability: "snapshot",
  topics: { chat: topic({ schema: heard, subscribe: "anyone" }) },
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
function say(message: typeof said.static, { messages }: Room, topics: Topics<{ chat: Message }>): Message {
  const sent = { ...message, sentAt: new Date().toISOString() };
  messages.push(sent);
  if (messages.length > messagesMax) messages.shift();
  topics.publish("chat", sent);
  return sent;
}
