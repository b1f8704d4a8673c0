import { expect, test } from "bun:test";
import fc from "fast-check";
import { object } from "stateful-objects";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { TopicPayload } from "../../infra/object/socket-message.ts";
import {
  failureIn,
  publishedOn,
  publishFailure,
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

test("what is published arrives with its form", () => {
  const text = fc.string({ unit: "binary", maxLength: 8 }).map((data) => ({ data, form: "text" }) as const);
  const json = fc.constantFrom("{}", "[1]", "null", "1e3").map((data) => ({ data, form: "json" }) as const);
  const bytes = fc.uint8Array().map((data) => ({ data, form: "bytes" }) as const);
  const payload: fc.Arbitrary<TopicPayload> = fc.oneof(text, json, bytes);
  fc.assert(fc.property(payload, (sent) => expect(publishedOn(subscriptionMessage(sent))).toEqual(sent)));
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
  await socket.receive("thello");
  const sent = String(socket.sent[0]);
  expect(JSON.parse(failureIn(sent) ?? "")).toMatchObject({ code: "topic_closed", status: 403 });
  expect(socket.closed).toBeUndefined();
});

test("so is one that publishing itself refuses, and what is no error of ours is thrown", async () => {
  const { host, socket } = await subscriber("wall");
  host.scope.topics.publish = () => {
    throw new StatefulError("invalid_input", "It does not match.");
  };
  await socket.receive("t");
  await socket.receive("j{");
  const codes = socket.sent.map((text) => JSON.parse(failureIn(String(text)) ?? "").code);
  expect(codes).toEqual(["invalid_input", "bad_request"]);
  host.scope.topics.publish = () => {
    throw new TypeError("a bug");
  };
  expect(socket.receive("t")).rejects.toThrow("a bug");
});

test("nothing else that is sent passes for a failure", () => {
  for (const message of ["", "failed {}", JSON.stringify({ code: "x" }), new Uint8Array([0])])
    expect(failureIn(message)).toBeUndefined();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const failure = publishFailure(new StatefulError("internal", "No.", { details: { cycle } }));
  expect(JSON.parse(failureIn(failure) ?? "")).toMatchObject({ code: "internal" });
});
