import { expect, test } from "bun:test";
import fc from "fast-check";
import type { SocketData } from "../../infra/object/socket-message.ts";
import type { TopicMessage } from "../../infra/topics/topic-message.ts";
import { presenceTopic } from "../../infra/topics/topic-presence.ts";
import { said } from "../support/topic-message.ts";
import { type TopicEdge, TopicHub } from "../../infra/topics/topic-hub.ts";

class NotingEdge implements TopicEdge {
  readonly heard: [string, string, SocketData, number][] = [];
  isCongested = false;
  publish(objectKey: string, { topic, data }: TopicMessage, except: number): boolean {
    if (!this.isCongested) this.heard.push([objectKey, topic, data, except]);
    return !this.isCongested;
  }
}

test("T1 a publish is one message to each edge that has subscribers, however many those are", () => {
  const hub = new TopicHub("room/a");
  const [near, far, deaf] = [new NotingEdge(), new NotingEdge(), new NotingEdge()];
  for (let n = 0; n < 5; n++) hub.subscribe("chat", near);
  hub.subscribe("chat", far);
  hub.subscribe("other", deaf);
  hub.publish(said("chat", "hello"));
  expect(near.heard).toEqual([["room/a", "chat", "hello", 0]]);
  expect(far.heard).toEqual(near.heard);
  expect(deaf.heard).toEqual([]);
  expect(hub.subscriberCount("chat")).toBe(6);
});

test("T7 an edge that has not told who listens there hears what has no position, and not who has come or gone", () => {
  const hub = new TopicHub("room/a");
  const untold = new NotingEdge();
  hub.untold(untold);
  for (const topic of ["chat", presenceTopic("chat")]) hub.publish(said(topic, "{}"));
  expect(untold.heard.map(([, topic]) => topic)).toEqual(["chat"]);
});

test("a socket is left out at its own edge only", () => {
  const hub = new TopicHub("room/a");
  const [near, far] = [new NotingEdge(), new NotingEdge()];
  hub.subscribe("chat", near);
  hub.subscribe("chat", far);
  hub.publish(said("chat", "hello"), { edge: near, socketId: 7 });
  expect([near.heard[0]?.[3], far.heard[0]?.[3]]).toEqual([7, 0]);
});

test("the edges that could not take a message are named, and the others have it", () => {
  const hub = new TopicHub("room/a");
  const [near, far] = [new NotingEdge(), new NotingEdge()];
  hub.subscribe("chat", near);
  hub.subscribe("chat", far);
  near.isCongested = true;
  expect(hub.publish(said("chat", "hello"))).toEqual([near]);
  expect(far.heard).toHaveLength(1);
  expect(hub.publish(said("nobody listens", "hello"))).toEqual([]);
});

test("counts are exact after any mix of subscribing and unsubscribing, and never below zero", () => {
  const edges = [new NotingEdge(), new NotingEdge(), new NotingEdge()] as const;
  const step = fc.record({
    does: fc.constantFrom("subscribe", "unsubscribe"),
    topic: fc.constantFrom("a", "b"),
    edge: fc.constantFrom(...edges),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const hub = new TopicHub("room/a");
      const expected = new Map<string, Map<TopicEdge, number>>();
      for (const { does, topic, edge } of steps) {
        hub[does as "subscribe" | "unsubscribe"](topic, edge); // constantFrom widens it to string
        const counts = expected.get(topic) ?? new Map<TopicEdge, number>();
        expected.set(topic, counts);
        counts.set(edge, Math.max(0, (counts.get(edge) ?? 0) + (does === "subscribe" ? 1 : -1)));
      }
      for (const topic of ["a", "b"]) {
        const counts = expected.get(topic) ?? new Map<TopicEdge, number>();
        expect(hub.subscriberCount(topic)).toBe([...counts.values()].reduce((sum, count) => sum + count, 0));
        for (const edge of edges) edge.heard.length = 0;
        hub.publish(said(topic, "x"));
        for (const edge of edges) expect(edge.heard.length).toBe((counts.get(edge) ?? 0) > 0 ? 1 : 0);
      }
    }),
  );
});
