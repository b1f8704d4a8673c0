import { expect, test } from "bun:test";
import { t } from "elysia";
import { object, topic } from "stateful-objects";
import { classDefinition } from "../../infra/object/object.ts";
import type { TopicDefinition, TopicOptions } from "../../infra/object/topic-options.ts";

type Options = TopicOptions<object, Record<never, never>>;

function define(options: unknown, name = "chat"): TopicDefinition | undefined {
  // Some of what is tried here would not compile: authors of JavaScript write it.
  const definition = classDefinition(object("room", { topics: { [name]: options as Options } }));
  return definition?.topics.get(name);
}

test("a topic of which nothing is said is closed, remembers nothing and shows nobody", () => {
  expect(define({})).toEqual({
    schema: undefined,
    history: undefined,
    presence: undefined,
    slowReaders: "close",
    publish: "server",
    subscribe: "handlers",
  });
});

test("what is asked for is filled in with defaults", () => {
  const { history, presence } = define({ history: {}, presence: true }) ?? {};
  expect(history).toEqual({ count: 100, ageMs: 300_000, bytes: 1024 * 1024 });
  expect(presence).toEqual({ data: undefined, membersMax: 256 });
  const data = () => "name";
  expect(define({ presence: { data } })?.presence).toEqual({ data, membersMax: 256 });
  expect(define({ presence: false })?.presence).toBeUndefined();
});

test("what is said is kept, at both ends of each range", () => {
  for (const history of [
    { count: 1, ageMs: 1000, bytes: 1 },
    { count: 10_000, ageMs: 86_400_000, bytes: 16 * 1024 * 1024 },
  ])
    expect(define({ history })?.history).toEqual(history);
  for (const membersMax of [0, 10_000])
    expect(define({ presence: { membersMax } })?.presence?.membersMax).toBe(membersMax);
  const subscribe = () => true;
  expect(define({ slowReaders: "conflate", publish: "clients", subscribe })).toMatchObject({
    slowReaders: "conflate",
    publish: "clients",
    subscribe,
  });
});

test("topic() changes nothing", () => {
  const options = { schema: t.String(), subscribe: "anyone" } as const;
  expect(topic(options)).toBe(options);
});

test.each<[unknown, string]>([
  [{ schema: { from: "string" } }, "topics.chat.schema must be a schema"],
  [{ schema: "said" }, "topics.chat.schema must be a schema"],
  [{ slowReaders: "wait" }, 'topics.chat.slowReaders must be "close", "drop-oldest" or "conflate"'],
  [{ publish: "anyone" }, 'topics.chat.publish must be "server" or "clients"'],
  [{ subscribe: "everyone" }, 'topics.chat.subscribe must be "handlers", "anyone" or a function'],
  [{ subscribe: true }, 'topics.chat.subscribe must be "handlers", "anyone" or a function'],
  [{ publish: "clients" }, 'topics.chat.publish may be "clients" only where subscribe is "anyone"'],
  [{ history: { count: 0 } }, "topics.chat.history.count must be a whole number from 1 to 10000"],
  [{ history: { count: 10_001 } }, "topics.chat.history.count"],
  [{ history: { count: "100" } }, "topics.chat.history.count"],
  [{ history: { ageMs: 999 } }, "topics.chat.history.ageMs must be a whole number from 1000 to 86400000"],
  [{ history: { ageMs: 86_400_001 } }, "topics.chat.history.ageMs"],
  [{ history: { ageMs: Number.POSITIVE_INFINITY } }, "topics.chat.history.ageMs"],
  [{ history: { bytes: 0 } }, "topics.chat.history.bytes must be a whole number from 1 to 16777216"],
  [{ history: { bytes: 1.5 } }, "topics.chat.history.bytes"],
  [{ history: { bytes: 16 * 1024 * 1024 + 1 } }, "topics.chat.history.bytes"],
  [
    { presence: { membersMax: -1 } },
    "topics.chat.presence.membersMax must be a whole number from 0 to 10000",
  ],
  [{ presence: { membersMax: Number.NaN } }, "topics.chat.presence.membersMax"],
  [{ presence: { data: "name" } }, "topics.chat.presence.data must be a function"],
])("%p is refused with the name of the class, of the topic and of the option", (options, what) => {
  expect(() => define(options)).toThrow(`object("room"): ${what}`);
});

test.each(["", "x".repeat(257)])("a topic's name has 1 to 256 characters (%p)", (name) => {
  expect(() => define({}, name)).toThrow("must have a name of 1 to 256 characters");
});
