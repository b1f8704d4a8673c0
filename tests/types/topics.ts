/** What the compiler knows of topics: which there are, and what is said on each. See `author-api.ts`. */
import { t } from "elysia";
import { object, type TopicRequest, type Topics, type TopicsOf, topic } from "stateful-objects";
import type counter from "../../objects/counter.ts";
import type room from "../../objects/room.ts";
import { same } from "./same.ts";

interface Said {
  from: string;
  text: string;
}
const said = t.Object({ from: t.String(), text: t.String() });

/** A Standard Schema validator that takes one type and makes another of it, as those with defaults do. */
const withDefault = {
  "~standard": {
    version: 1 as const,
    vendor: "test",
    types: undefined as
      | { input: { text: string; loud?: boolean }; output: { text: string; loud: boolean } }
      | undefined, // only ever a type
    validate: (value: unknown) => ({ value }),
  },
};

// -- from the declaration to every handler and hook

export const lobby = object("lobby", {
  state: () => ({ members: ["ada"] }),
  topics: {
    chat: topic({
      schema: said,
      history: { count: 100, ageMs: 60_000 },
      presence: true,
      publish: "clients",
      subscribe: "anyone",
      slowReaders: "close",
    }),
    count: { schema: t.Integer(), slowReaders: "conflate" },
    moods: {
      schema: t.Union([t.Literal("calm"), t.Literal("wild")]),
      history: {},
      presence: { data: ({ state, request }) => state.members.includes(request.url), membersMax: 10 },
      subscribe: ({ state, request, topic }) => state.members.includes(request.url + topic),
    },
    days: { schema: t.Object({ at: t.Date() }) },
    tree: { schema: t.Recursive((self) => t.Object({ name: t.String(), below: t.Array(self) })) },
    shouts: { schema: withDefault },
    raw: { subscribe: "anyone" },
  },
  onStart({ state, topics }) {
    same<typeof state, { members: string[] }>(true);
    const position: string | undefined = topics.publish("chat", { from: "ada", text: "hello" });
    void position;
    // @ts-expect-error a text is missing
    topics.publish("chat", { from: "ada" });
  },
  onAlarm({ topics, name }) {
    topics.publish("raw", name);
    // @ts-expect-error a number is expected
    topics.publish("count", name);
  },
  onStop({ topics }) {
    // @ts-expect-error no such mood
    topics.publish("moods", "sad");
  },
})
  .derive(({ topics }) => ({ listeners: topics.subscriberCount("chat") }))
  .get("/", ({ topics, listeners }) => {
    topics.publish("chat", { from: "ada", text: "hello" });
    topics.publish("count", listeners);
    topics.publish("moods", "calm");
    topics.publish("days", { at: new Date() });
    topics.publish("tree", { name: "oak", below: [{ name: "acorn", below: [] }] });
    topics.publish("shouts", { text: "hey" });
    topics.publish("raw", "anything");
    topics.publish("raw", new Uint8Array(3));
  })
  .ws("/live", {
    body: said,
    message(ws, message) {
      ws.data.topics.publish("chat", message);
      // @ts-expect-error no text, as the compiler knows here too
      ws.data.topics.publish("chat", { from: message.from });
      // @ts-expect-error and names are the declared ones
      ws.data.topics.publish("chatter", message);
      // Elysia's own know no topics: what is said is checked when it runs.
      ws.subscribe("chatter");
      ws.publish("chatter", 7);
    },
  });

// -- a topic for several classes

/** Its function says which state it needs. */
const membersOnly = topic({
  schema: said,
  subscribe: ({ state }: TopicRequest<{ members: string[] }, Record<never, never>>) =>
    state.members.length > 0,
});
export const club = object("club", {
  state: () => ({ members: ["ada"], since: 1815 }),
  topics: { talk: membersOnly },
}).get("/", ({ topics, state }) => {
  topics.publish("talk", { from: "ada", text: String(state.since) });
  // @ts-expect-error with the type of its messages
  topics.publish("talk", state.since);
});
// @ts-expect-error this class has no members
object("wrong", { state: () => ({ since: 1815 }), topics: { talk: membersOnly } });

// -- a class that declares none may use any

export const quiet = object("quiet", {
  onStart({ topics }) {
    topics.publish("whatever", { any: "message" });
  },
}).get("/:topic", ({ topics, params }) => {
  topics.publish(params.topic, 7);
  return topics.subscriberCount(params.topic);
});

// -- helpers

/** Says what it publishes, and no more. */
function say(text: string, topics: Topics<{ chat: Said }>): void {
  topics.publish("chat", { from: "helper", text });
  // @ts-expect-error that is not what it has said
  topics.publish("count", 7);
}

/** Takes any topics, and is checked when it runs. */
function sayAnywhere(name: string, topics: Topics): void {
  topics.publish(name, { from: "helper" });
}

lobby.get("/helped", ({ topics }) => {
  say("hello", topics);
  sayAnywhere("chat", topics);
});
quiet.get("/helped", ({ topics }) => {
  say("hello", topics);
  sayAnywhere("chat", topics);
});

// -- what subscribers hear

same<TopicsOf<typeof lobby>["chat"], Said>(true);
same<keyof TopicsOf<typeof lobby>, "chat" | "count" | "moods" | "days" | "tree" | "shouts" | "raw">(true);
same<TopicsOf<typeof lobby>["count"], number>(true);
same<TopicsOf<typeof lobby>["moods"], "calm" | "wild">(true);
same<TopicsOf<typeof lobby>["shouts"], { text: string; loud: boolean }>(true);
same<TopicsOf<typeof lobby>["raw"], unknown>(true);
same<TopicsOf<typeof quiet>, Record<string, unknown>>(true);
same<TopicsOf<typeof counter>, { count: unknown }>(true);
same<TopicsOf<typeof room>, { chat: { id: string; from: string; text: string; sentAt: string } }>(true);

// -- what must not compile

lobby.get("/wrong", ({ topics }) => {
  // @ts-expect-error the topic is called `chat`
  topics.publish("chatt", { from: "ada", text: "hello" });
  // @ts-expect-error so nobody is counted there
  topics.subscriberCount("chatt");
  // @ts-expect-error a text is text
  topics.publish("chat", { from: "ada", text: 7 });
  // @ts-expect-error there is no such field
  topics.publish("chat", { from: "ada", text: "hello", colour: "red" });
  // @ts-expect-error a topic and a message
  topics.publish("chat");
  // @ts-expect-error the name comes first
  topics.publish({ from: "ada", text: "hello" }, "chat");
  // @ts-expect-error a name may be any text only where none is declared
  topics.publish(String(Date.now()), 7);
  // @ts-expect-error at any depth
  topics.publish("tree", { name: "oak", below: [{ name: 7, below: [] }] });
  // @ts-expect-error what is published is what the validator takes
  topics.publish("shouts", { text: "hey", loud: "very" });
});

// A helper for a topic that the class does not have.
function ring(topics: Topics<{ bell: number }>): void {
  topics.publish("bell", 1);
}
// @ts-expect-error `lobby` has no bell
lobby.get("/wrong", ({ topics }) => ring(topics));

// A helper that says something else on it.
function count(topics: Topics<{ chat: number }>): void {
  topics.publish("chat", 1);
}
// @ts-expect-error the chat is not counted
lobby.get("/wrong", ({ topics }) => count(topics));

// What is no schema.
// @ts-expect-error a schema is TypeBox or a Standard Schema validator
object("wrong", { topics: { chat: { schema: { from: "string" } } } });

// @ts-expect-error as with `topic()`
topic({ schema: 7 });

// An option that nobody wrote.
// @ts-expect-error it is called `schema`
object("wrong", { topics: { chat: { shema: said } } });

// @ts-expect-error "close", "drop-oldest" or "conflate"
object("wrong", { topics: { chat: { slowReaders: "wait" } } });

// @ts-expect-error the bounds are count, ageMs and bytes
object("wrong", { topics: { chat: { history: { messages: 3 } } } });

// @ts-expect-error a count is a number
object("wrong", { topics: { chat: { history: { count: "100" } } } });

// @ts-expect-error it is called `membersMax`
object("wrong", { topics: { chat: { presence: { max: 3 } } } });

// A subscribe hook that answers with something else than yes or no.
// @ts-expect-error true or false
object("wrong", { topics: { chat: { subscribe: () => "yes" } } });

// A class with typed topics is one like any other.
// @ts-expect-error TopicsOf asks a class
export type Wrong = TopicsOf<"lobby">;
