/**
 * A chat, and what a topic does for one. The room publishes each message once, and every host hands it to its own visitors.
 * Whoever comes late or comes back hears what was said meanwhile from the topic's *history*, and *presence* tells them all who
 * is there. Its *schema* says what is heard: to the compiler, to the object when it publishes, and to clients, by
 * `TopicsOf<typeof room>`. `/room/<id>/chat` is a page to try it with, `room.html`; anything else that wants to listen
 * subscribes at `/room/<id>/-/topics/chat`, as WebSocket or server-sent events.
 */
import { t } from "elysia";
import { object, type Topics, topic } from "stateful-objects";

const said = t.Object({
  /** Of the sender's choice. One that did not hear whether its message arrived sends it again: it is said once. */
  id: t.Optional(t.String({ minLength: 1, maxLength: 40 })),
  from: t.String({ minLength: 1, maxLength: 40 }),
  text: t.String({ minLength: 1, maxLength: 2000 }),
});

const heard = t.Object({
  ...said.properties,
  id: t.String(),
  sentAt: t.String({ format: "date-time" }),
});
type Message = typeof heard.static;

interface Room {
  /** Of the latest messages, oldest first. */
  readonly ids: string[];
}

const messagesMax = 200;

export default object("room", {
  state: (): Room => ({ ids: [] }),
  // What anybody was told survives a crash, the history as well. A room sleeps while nobody speaks; its visitors stay connected.
  durability: "storage",
  topics: {
    chat: topic({
      schema: heard,
      subscribe: "anyone",
      history: { count: messagesMax, ageMs: 86_400_000 },
      presence: { data: ({ request }) => ({ name: nameOf(request) }) },
    }),
  },
})
  .get("/", ({ topics }) => ({ present: topics.presence("chat").members.map(({ data }) => data) }))
  .post("/messages", ({ body, state, topics }) => say(body, state, topics), { body: said })
  .ws("/live", {
    body: said,
    open(ws) {
      ws.subscribe("chat");
    },
    message(ws, message) {
      say(message, ws.data.state, ws.data.topics);
    },
  })
  .get("/chat", () => chatPage());

/** To everyone in the room, the sender included: all of them see one order. */
function say(message: typeof said.static, { ids }: Room, topics: Topics<{ chat: Message }>): Message {
  const sent = { id: crypto.randomUUID(), ...message, sentAt: new Date().toISOString() };
  if (ids.includes(sent.id)) return sent;
  ids.push(sent.id);
  if (ids.length > messagesMax) ids.shift();
  topics.publish("chat", sent);
  return sent;
}

function nameOf(request: Request): string {
  return new URL(request.url).searchParams.get("name")?.slice(0, 40) || "somebody";
}

/** It may load and reach what its own host serves, and nothing else. */
async function chatPage(): Promise<Response> {
  const page = await (await fetch(new URL("./room.html", import.meta.url))).text();
  const nonce = crypto.randomUUID();
  const policy = [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ];
  return new Response(page.replaceAll("{nonce}", nonce), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy.join("; "),
      "cache-control": "no-store",
    },
  });
}
