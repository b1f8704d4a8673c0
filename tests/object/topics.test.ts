import { describe, expect, test } from "bun:test";
import { Elysia, t } from "elysia";
import fc from "fast-check";
import { object, StatefulError, type Topics, topic } from "stateful-objects";
import { clientMessage, topicPayload } from "../../infra/object/topic-payload.ts";
import { TopicSchema } from "../../infra/object/topic-schema.ts";
import { FakeHost } from "./fake-scope.ts";

const said = t.Object({ from: t.String({ minLength: 1 }), lines: t.Array(t.String()) });
const ann = { from: "ann", lines: ["hello", "you"] };

/** A Standard Schema validator: at most three characters, which it makes loud. */
const shout = {
  "~standard": {
    version: 1 as const,
    vendor: "test",
    types: undefined as { readonly input: { text: string }; readonly output: { text: string } } | undefined, // only ever a type
    validate(value: unknown) {
      const { text } = value as { text: string }; // no test gives it anything else
      if (text.length <= 3) return { value: { text: text.toUpperCase() } };
      return { issues: [{ message: "at most 3 characters", path: ["text", { key: 3 }] }] };
    },
  },
};

const waits = {
  "~standard": { ...shout["~standard"], validate: async (value: unknown) => ({ value }) },
};

const chat = () =>
  object("room", {
    limits: { messageBytesMax: 100 },
    topics: {
      chat: topic({ schema: said, publish: "clients", subscribe: "anyone" }),
      word: { schema: t.String(), publish: "clients", subscribe: "anyone" },
      day: { schema: t.Object({ at: t.Date() }), publish: "clients", subscribe: "anyone" },
      shout: { schema: shout, publish: "clients", subscribe: "anyone" },
      waits: { schema: waits },
      raw: { publish: "clients", subscribe: "anyone" },
      news: { schema: said, subscribe: "anyone" },
      closed: { schema: said },
      asked: {
        publish: "clients",
        subscribe: ({ request, topic }) => request.headers.get("x-may") === topic,
      },
    },
  });

async function refusal(run: () => unknown): Promise<unknown> {
  try {
    await run();
  } catch (thrown) {
    if (thrown instanceof StatefulError) return [thrown.code, thrown.closeCode, thrown.message];
    throw thrown;
  }
  return "nothing was thrown";
}

function invalid(what: string, name = "chat"): unknown {
  return ["invalid_input", 1007, `The topic "${name}" does not take this message${what}.`];
}

// -- what handlers publish

describe("O6 a message on a topic with a schema", () => {
  const host = new FakeHost(chat());
  const { topics, payloads } = host.scope;
  /** As a caller without types has it. */
  const publish = (name: string, message: unknown) => (topics as Topics).publish(name, message);

  test("is JSON, a text as well", () => {
    publish("chat", ann);
    publish("word", "hello");
    publish("day", { at: new Date(0) });
    expect(payloads.splice(0)).toEqual([
      { data: '{"from":"ann","lines":["hello","you"]}', form: "json" },
      { data: '"hello"', form: "json" },
      { data: '{"at":"1970-01-01T00:00:00.000Z"}', form: "json" },
    ]);
  });

  test("is what a Standard Schema makes of it", () => {
    publish("shout", { text: "hey" });
    expect(payloads.splice(0)).toEqual([{ data: '{"text":"HEY"}', form: "json" }]);
  });

  test.each<[string, unknown, string]>([
    ["chat", { from: 7, lines: [] }, " at /from: Expected string"],
    ["chat", { from: "ann", lines: ["a", 7] }, " at /lines/1: Expected string"],
    ["chat", { ...ann, colour: "red" }, " at /colour: Unexpected property"],
    ["chat", "hello", ": Expected object"],
    ["chat", undefined, ": Expected object"],
    ["chat", new Uint8Array(3), " at /from: Expected required property"],
    ["word", 7, ": Expected string"],
    ["shout", { text: "hello" }, " at /text/3: at most 3 characters"],
  ])("that it refuses is heard by nobody: %p, %p", async (name, message, what) => {
    expect(await refusal(() => publish(name, message))).toEqual(invalid(what, name));
    expect(payloads).toEqual([]);
  });

  test("that cannot be written down is refused like one that does not match", async () => {
    expect(await refusal(() => publish("day", { at: new Date(Number.NaN) }))).toEqual([
      "invalid_input",
      1007,
      expect.stringMatching(/^The topic "day" does not take this message at \/at: /),
    ]);
  });

  test("cannot be checked by a validator that waits", async () => {
    const answer = await refusal(() => publish("waits", "x"));
    expect(answer).toEqual([
      "bad_request",
      1008,
      'The schema of the topic "waits" waits, and a publish cannot.',
    ]);
  });
});

test("without a schema text is text, bytes are bytes, and anything else is JSON", () => {
  const payload = { data: new Uint8Array([1, 2, 3]), form: "bytes" } as const;
  for (const bytes of [new Uint8Array([1, 2, 3]), Buffer.from([1, 2, 3])]) {
    const copied = topicPayload(undefined, bytes);
    bytes.fill(0);
    expect(copied).toEqual(payload);
  }
  expect(topicPayload(undefined, new Uint8Array([1, 2, 3]).buffer)).toEqual(payload);
  expect(topicPayload(undefined, "7")).toEqual({ data: "7", form: "text" });
  for (const [message, data] of [
    [7, "7"],
    [null, "null"],
    [undefined, "null"],
    [["7"], '["7"]'],
  ])
    expect(topicPayload(undefined, message)).toEqual({ data: data as string, form: "json" }); // the second of each pair
});

// -- what clients send

describe("O7 what a client sends on a topic's address", () => {
  test("is JSON where there is a schema, and checked", async () => {
    const host = new FakeHost(chat());
    const socket = await host.connect("/-/topics/chat");
    await socket.receive(` ${JSON.stringify(ann)}\n`);
    expect(host.scope.payloads).toEqual([{ data: JSON.stringify(ann), form: "json" }]);
    for (const [message, what] of [
      ["hello", ": it takes JSON"],
      ["{", ": it takes JSON"],
      ['{"from":"","lines":[]}', " at /from: Expected string length greater or equal to 1"],
      [new Uint8Array(2), ": it takes JSON, and these are bytes"],
    ] as const)
      expect(await refusal(() => socket.receive(message))).toEqual(invalid(what));
    expect(host.scope.payloads).toHaveLength(1);
  });

  test("is read and written again where the schema says how", async () => {
    const host = new FakeHost(chat());
    const socket = await host.connect("/-/topics/day");
    await socket.receive('{"at":"1970-01-01"}');
    expect(host.scope.published).toEqual([{ topic: "day", message: { at: new Date(0) } }]);
    expect(host.scope.payloads).toEqual([{ data: '{"at":"1970-01-01T00:00:00.000Z"}', form: "json" }]);
    const shouting = await host.connect("/-/topics/shout");
    await shouting.receive('{"text":"hey"}');
    expect(host.scope.payloads[1]).toEqual({ data: '{"text":"HEY"}', form: "json" });
  });

  test("is what it is where there is none", async () => {
    const host = new FakeHost(chat());
    const socket = await host.connect("/-/topics/raw");
    await socket.receive('{"from":7}');
    await socket.receive(new Uint8Array([1]));
    expect(host.scope.payloads).toEqual([
      { data: '{"from":7}', form: "text" },
      { data: new Uint8Array([1]), form: "bytes" },
    ]);
  });
});

// -- POST

describe("O8 POST to a topic's address", () => {
  const post = (host: FakeHost, name: string, body?: BodyInit, headers: Record<string, string> = {}) =>
    host.request(`/-/topics/${name}`, { method: "POST", headers, ...(body === undefined ? {} : { body }) });
  const json = { "content-type": "application/json; charset=utf-8" };

  test.each<[string, BodyInit | undefined, Record<string, string>, unknown]>([
    ["raw", '{"a":[1]}', json, { data: '{"a":[1]}', form: "json" }],
    ["raw", '"a"', json, { data: "a", form: "text" }],
    ["raw", "null", json, { data: "null", form: "json" }],
    ["raw", "a\nb", { "content-type": "text/csv" }, { data: "a\nb", form: "text" }],
    ["raw", new Uint8Array([1, 2]), {}, { data: new Uint8Array([1, 2]), form: "bytes" }],
    ["raw", "ab", { "content-type": "image/png" }, { data: new Uint8Array([97, 98]), form: "bytes" }],
    ["raw", undefined, {}, { data: new Uint8Array(), form: "bytes" }],
    ["chat", JSON.stringify(ann), json, { data: JSON.stringify(ann), form: "json" }],
    [
      "chat",
      JSON.stringify(ann),
      { "content-type": "text/plain" },
      { data: JSON.stringify(ann), form: "json" },
    ],
    ["word", '"hello"', json, { data: '"hello"', form: "json" }],
    ["day", '{"at":"1970-01-01"}', json, { data: '{"at":"1970-01-01T00:00:00.000Z"}', form: "json" }],
    ["asked", "hello", { "content-type": "text/plain", "x-may": "asked" }, { data: "hello", form: "text" }],
  ])("publishes on %p %p, 202", async (name, body, headers, payload) => {
    const host = new FakeHost(chat());
    const response = await post(host, name, body, headers);
    expect([response.status, await response.json()]).toEqual([202, {}]);
    expect(host.scope.payloads).toEqual([payload] as typeof host.scope.payloads); // of whichever form
    expect(host.scope.published[0]?.topic).toBe(name);
  });

  test.each<[string, BodyInit | undefined, Record<string, string>, number, string, string]>([
    ["chat", '{"from":"ann"}', json, 422, "invalid_input", " at /lines: Expected required property"],
    ["chat", JSON.stringify(ann), {}, 422, "invalid_input", "it takes JSON, and these are bytes"],
    ["chat", "hello", { "content-type": "text/plain" }, 422, "invalid_input", "it takes JSON"],
    ["chat", undefined, {}, 422, "invalid_input", "it takes JSON, and these are bytes"],
    ["raw", "{", json, 400, "bad_request", "JSON"],
    ["raw", "", json, 400, "bad_request", "JSON"],
    ["raw", "x".repeat(101), {}, 413, "body_too_large", "100 bytes"],
    ["news", JSON.stringify(ann), json, 403, "topic_closed", "by the server only"],
    ["closed", JSON.stringify(ann), json, 403, "topic_closed", "is not open"],
    ["unheard-of", "hello", {}, 403, "topic_closed", "is not open"],
    ["asked", "hello", {}, 403, "topic_closed", "is not open"],
  ])("refuses on %p %p with %p, %d %s", async (name, body, headers, status, code, what) => {
    const host = new FakeHost(chat());
    const response = await post(host, name, body, body instanceof Uint8Array ? {} : headers);
    const problem = await response.json();
    expect([response.status, problem.code]).toEqual([status, code]);
    expect(problem.detail).toContain(what);
    expect(host.scope.published).toEqual([]);
  });

  test("breaks off a body of unknown length once it is over the limit", async () => {
    const host = new FakeHost(chat());
    let pulled = 0;
    const endless = new ReadableStream({
      pull(controller) {
        pulled += 1;
        controller.enqueue(new Uint8Array(60));
      },
    });
    const response = await post(host, "raw", endless);
    expect([response.status, (await response.json()).code]).toEqual([413, "body_too_large"]);
    expect(pulled).toBeLessThan(10);
  });

  test("runs the class's own hooks first, and what they set is on the answer", async () => {
    const hooked = chat().onBeforeHandle(({ headers, set, status }) => {
      set.headers["x-hook"] = "ran";
      return headers["x-banned"] === undefined ? undefined : status(401, "banned");
    });
    const host = new FakeHost(hooked);
    const banned = await post(host, "raw", "hello", { "x-banned": "yes" });
    expect([banned.status, await banned.text()]).toEqual([401, "banned"]);
    expect(host.scope.published).toEqual([]);
    expect((await post(host, "raw", "hello")).headers.get("x-hook")).toBe("ran");
  });

  test("takes what a parser of the author's has made of the body", async () => {
    const parsed = chat().onParse(({ request, contentType }) =>
      contentType === "application/x-lines"
        ? request.text().then((text) => ({ from: "parser", lines: text.split(",") }))
        : undefined,
    );
    const host = new FakeHost(parsed);
    expect((await post(host, "chat", "a,b", { "content-type": "application/x-lines" })).status).toBe(202);
    expect(host.scope.payloads).toEqual([{ data: '{"from":"parser","lines":["a","b"]}', form: "json" }]);
    expect((await post(host, "chat", JSON.stringify(ann), json)).status).toBe(202);
  });

  test("reads the body before it enters the gate of a serial class", async () => {
    const serial = new FakeHost(
      object("room", { concurrency: "serial", topics: { raw: { publish: "clients", subscribe: "anyone" } } }),
    );
    const response = await post(serial, "raw", "{", json);
    expect(response.status).toBe(400);
    expect(serial.scope.entered).toEqual([]);
    expect((await post(serial, "raw", "{}", json)).status).toBe(202);
    expect(serial.scope.entered).toHaveLength(1);
  });
});

test.each(["publish", "request"])(
  "a schema may be a route's as well, whichever comes first (%s)",
  async (first) => {
    const shared = t.Object({ from: t.String() });
    const host = new FakeHost(
      object("room", { topics: { chat: { schema: shared } } })
        .post("/say", ({ body, topics }) => topics.publish("chat", body), { body: shared })
        .use(new Elysia({ normalize: false }).post("/lax", ({ body }) => body, { body: shared })),
    );
    const tooMuch = { from: "ann", more: 1 };
    const published = () => refusal(() => host.scope.topics.publish("chat", tooMuch));
    if (first === "publish") expect(await published()).toEqual(invalid(" at /more: Unexpected property"));
    // Elysia takes away what a body has too much.
    expect((await host.post("/say", tooMuch)).status).toBe(200);
    expect(host.scope.payloads).toEqual([{ data: '{"from":"ann"}', form: "json" }]);
    expect((await host.post("/lax", tooMuch)).status).toBe(200);
    expect(await published()).toEqual(invalid(" at /more: Unexpected property"));
  },
);

test("what a refusal says stays short, whatever a client has called its fields", () => {
  const name = "x".repeat(1000);
  expect(() => strict.encode({ ...ann, [name]: 1 })).toThrow(
    expect.objectContaining({
      details: { on: "message", at: `/${"x".repeat(99)}` },
      message: expect.stringMatching(/^.{1,200}$/),
    }),
  );
});

// -- properties

const json = fc.jsonValue({ maxDepth: 3 });
const anything = new TopicSchema("any", t.Any());
const strict = new TopicSchema("chat", said);

test("what a client says in JSON is what subscribers hear, whatever it is", () => {
  fc.assert(
    fc.property(json, (value) => {
      const { data, form } = topicPayload(anything, clientMessage(anything, JSON.stringify(value)));
      expect(form).toBe("json");
      expect(JSON.parse(String(data))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("a schema lets through what matches, whole, and nothing else", () => {
  const messages = fc.record({ from: fc.string({ minLength: 1 }), lines: fc.array(fc.string()) });
  fc.assert(
    fc.property(messages, (message) => {
      expect(JSON.parse(strict.encode(strict.decode(JSON.stringify(message))))).toEqual(message);
    }),
  );
  fc.assert(
    fc.property(json, (value) => {
      const isOne =
        typeof value === "object" &&
        value !== null &&
        "from" in value &&
        "lines" in value &&
        value.from !== "";
      fc.pre(!isOne);
      expect(() => strict.encode(value)).toThrow('The topic "chat" does not take this message');
    }),
  );
});
