import { expect, test } from "bun:test";
import fc from "fast-check";
import { object } from "stateful-objects";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { TopicPayload } from "../../infra/object/socket-message.ts";
import {
  authorsMessage,
  publishDone,
  publishFailure,
  saidOn,
  saidWithin,
  sentOn,
  subscriptionMessage,
} from "../../infra/object/subscription-message.ts";
import { FakeHost } from "./fake-scope.ts";

const box = object("box", {
  topics: { news: { subscribe: "anyone" }, wall: { subscribe: "anyone", publish: "clients" } },
}).ws("/live", { message: () => undefined });

async function subscriber(topic: string) {
  const host = new FakeHost(box);
  const socket = await host.connect(`/-/topics/${topic}`);
  socket.kind = "subscription";
  return { host, socket };
}

test("E27 a topic's route takes a subscription, and a route of the author's does not", async () => {
  const host = new FakeHost(box);
  expect((await host.upgrade("/-/topics/news", {}, "subscription")).slot.accepted).toBeDefined();
  for (const kind of ["subscription", "event-stream"] as const) {
    const { slot, response } = await host.upgrade("/live", {}, kind);
    expect([slot.accepted, response.status]).toEqual([undefined, 426]);
  }
});

const text = fc.string({ unit: "binary", maxLength: 8 }).map((data) => ({ data, form: "text" }) as const);
const json = fc.constantFrom("{}", "[1]", "null", "1e3").map((data) => ({ data, form: "json" }) as const);
const bytes = fc.uint8Array().map((data) => ({ data, form: "bytes" }) as const);
const payloads: fc.Arbitrary<TopicPayload> = fc.oneof(text, json, bytes);
const refs = fc.option(fc.oneof(fc.integer({ min: 1 }), fc.constant(Number.MAX_SAFE_INTEGER)), {
  nil: undefined,
});

test("what is published arrives with its form and its number", () => {
  const arrives = (payload: TopicPayload, ref: number | undefined) =>
    expect(saidOn(subscriptionMessage(payload, ref))).toEqual({ payload, ref });
  fc.assert(fc.property(payloads, refs, arrives));
});

test("E28 what is over the limit is carried no further than its number", () => {
  const arrives = (payload: TopicPayload, ref: number | undefined) => {
    const said = subscriptionMessage(payload, ref);
    const length = Buffer.byteLength(payload.data);
    expect(saidWithin(said, length)).toBe(said);
    if (length > 0) expect(saidOn(saidWithin(said, length - 1))).toEqual({ payload: undefined, ref });
  };
  fc.assert(fc.property(payloads, refs, arrives));
});

test("what no edge sends is bad_request, or what a client may say", () => {
  const take = (message: string | Uint8Array) => {
    try {
      const { ref = 1 } = saidOn(message);
      expect(Number.isSafeInteger(ref)).toBe(true);
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "bad_request" });
    }
  };
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.uint8Array()), take));
  for (const message of ["", ":", "j", "j1", "jx:1", "j1e400:", new Uint8Array(), new Uint8Array([9, 49])])
    take(message);
});

test("a client's publish is published as a handler would publish it", async () => {
  const { host, socket } = await subscriber("wall");
  const messages: TopicPayload[] = [
    { data: '{"a":[1]}', form: "json" },
    { data: '"text"', form: "json" },
    { data: '{"a":[1]}', form: "text" },
    { data: new Uint8Array([1]), form: "bytes" },
  ];
  for (const message of messages) await socket.receive(subscriptionMessage(message));
  expect(host.scope.published.map(({ message }) => message)).toEqual([
    { a: [1] },
    "text",
    '{"a":[1]}',
    new Uint8Array([1]),
  ]);
});

test("E28 a publish that is not taken is answered, and the socket stays open", async () => {
  const { socket } = await subscriber("news");
  await socket.receive("t7:hello");
  const sent = String(socket.sent[0]);
  expect(sentOn(sent)).toMatchObject({
    type: "failed",
    ref: 7,
    error: { code: "topic_closed", status: 403 },
  });
  expect(socket.closed).toBeUndefined();
});

test("E28 one that asks for it is told when it is published, and where it stands", async () => {
  const { host, socket } = await subscriber("wall");
  host.scope.position = "h.4";
  for (const ref of [undefined, 8])
    await socket.receive(subscriptionMessage({ data: "a", form: "text" }, ref));
  host.scope.position = undefined;
  await socket.receive("t9:b");
  expect(socket.sent.map((message) => sentOn(String(message)))).toEqual([
    { type: "published", ref: 8, position: "h.4" },
    { type: "published", ref: 9, position: undefined },
  ]);
});

test("so is one that publishing itself refuses, and what is no error of ours is thrown", async () => {
  const { host, socket } = await subscriber("wall");
  host.scope.topics.publish = () => {
    throw new StatefulError("invalid_input", "It does not match.");
  };
  await socket.receive("t:");
  await socket.receive("j5:{");
  await socket.receive("x6:");
  expect(socket.sent.map((text) => sentOn(String(text)))).toMatchObject([
    { type: "failed", ref: undefined, error: { code: "invalid_input" } },
    { type: "failed", ref: 5, error: { code: "bad_request" } },
    { type: "failed", ref: 6, error: { code: "body_too_large" } },
  ]);
  host.scope.topics.publish = () => {
    throw new TypeError("a bug");
  };
  expect(socket.receive("t:")).rejects.toThrow("a bug");
});

test("nothing that an author sends passes for a failure, and everything arrives as it was sent", () => {
  const known = [publishFailure(new StatefulError("internal", "No."), 1), publishDone(1, "h.1")];
  for (const message of ["", "failed {}", "\0", "\0\0failed {}", "\0failed {", ...known, new Uint8Array([0])])
    expect(sentOn(authorsMessage(message))).toEqual({ message });
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const failure = publishFailure(new StatefulError("internal", "No.", { details: { cycle } }), undefined);
  expect(sentOn(failure)).toMatchObject({ type: "failed", error: { code: "internal" } });
});
