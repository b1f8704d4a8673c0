import { describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { EdgeSocket, nativeTopic } from "../../infra/edge/edge-socket.ts";
import { EventStream } from "../../infra/edge/event-stream.ts";
import { type LenientPolicy, LenientTopics } from "../../infra/edge/lenient-topics.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { authorsMessage, sentOn } from "../../infra/object/subscription-message.ts";
import type { TopicStart } from "../../infra/topics/topic-message.ts";
import { presenceTopic } from "../../infra/topics/topic-presence.ts";
import { FakeEdge, ObjectHost } from "../host/object-host.ts";
import { EdgeRig, ref } from "../support/edge-rig.ts";
import { FakeClient } from "../support/fake-client.ts";
import { FramedRig } from "../support/framed-rig.ts";
import { said } from "../support/topic-message.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/**
 * What listeners hear where their object moves under a way that is cut, or where they are told of a gap just then: everything, or
 * that there is a hole.
 */

const key = ref.key;
/** Of event streams whose topics are looked at in another way. */
const untold = { opened: () => undefined, closed: () => undefined, publishNatively: () => undefined };

function startAt(position: string, more: Partial<TopicStart> = {}): TopicStart {
  return { position, recovered: undefined, missed: [], ...more };
}

describe("E14 E19 an edge that is cut off as its object moves", () => {
  /** Its client has heard `1`; `2` was said after the way to the first owner had broken, which then moved the object. */
  async function cutOff() {
    const rig = new EdgeRig();
    const first = rig.owner("first", 1);
    const client = await rig.connect(first);
    first.carrier(client).listen("t", startAt("h.0"));
    first.port?.publish(key, said("t", "1", "h.1"), 0);
    await rig.settle();
    rig.cut(first);
    first.port?.publish(key, said("t", "2", "h.2"), 0);
    const lastWord = first.port?.lastWord;
    first.port?.moved("second.1", 2);
    expect(rig.published.map(([, message]) => message)).toEqual(["1"]);
    return { rig, client, lastWord, taken: first.taken };
  }

  test("T4 closes its clients when the next owner comes, instead of going on with a hole", async () => {
    const { rig, client, lastWord, taken } = await cutOff();
    const second = rig.owner("second", 2, taken);
    await rig.link(second);
    second.attach(lastWord);
    await rig.settle();
    expect([client.closing?.[0], second.told.at(-1)]).toEqual([1012, ["closed", client.number, 1012]]);
  });

  test("T4 does so too where it has not heard of the next owner, and the one after that comes", async () => {
    const { rig, client, lastWord, taken } = await cutOff();
    const second = rig.owner("second", 2, taken);
    second.attach(lastWord);
    second.port?.publish(key, said("t", "3", "h.3"), 0);
    const lastWordOfSecond = second.port?.lastWord;
    second.port?.moved("third.1", 3);
    const third = rig.owner("third", 3, taken);
    await rig.link(third);
    third.attach(lastWordOfSecond);
    await rig.settle();
    expect([client.closing?.[0], third.told.at(-1)]).toEqual([1012, ["closed", client.number, 1012]]);
  });
});

describe("E28 T2 what an author's code sends to a subscription is a message of its topic", () => {
  // A handler passes on what another client said: `sockets.list()[0].send(text)`.
  const forgeries = [
    '\0failed 0,"type":"message","object":"bank/me","topic":"news","data":{"from":"admin"}',
    '\0failed {"code":"internal","status":500}',
    "\0failed ",
    "\0\0failed {}",
    "\0",
  ];

  test.each(forgeries)("and is heard as it was sent: %j", (text) => {
    const client = new FramedRig().connect();
    const { socket } = client.ask("room/a").begin();
    socket.send(authorsMessage(text));
    expect(client.frames.slice(1)).toEqual([{ type: "message", object: "room/a", topic: "chat", text }]);
  });

  test.each(forgeries)("with the mark that its owner gives it: %j", async (text) => {
    const topics = { chat: { subscribe: "anyone" } } as const;
    const activation = await new ObjectHost(object("room", { topics }).get("/", () => "")).live("room");
    const edge = new FakeEdge();
    const attached = activation.edges.attach(edge.edge, (events, facts) =>
      Object.assign(edge, { events, facts }),
    );
    const nothing = { subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 };
    const facts = { number: 1, id: "socket-1", remoteAddress: "192.0.2.1", ...nothing };
    attached.roll([{ ...facts, kind: "subscription", phase: "opened" }], "missing", true);
    activation.sockets.list()[0]?.send(text);
    expect(edge.carrier(1).sent).toEqual([authorsMessage(text)]);
    expect(edge.carrier(1).sent.map(sentOn)).toEqual([{ message: text }]);
  });

  test("also where an owner has not marked it: no frame says more than that", () => {
    for (const text of forgeries) {
      const client = new FramedRig().connect();
      const { socket } = client.ask("room/a").begin();
      socket.send(text);
      const [frame, ...more] = client.frames.slice(1);
      expect(more).toEqual([]);
      if (frame?.type === "failed") expect(frame.id).toBe(1);
      else expect(frame).toMatchObject({ type: "message", object: "room/a", topic: "chat" });
    }
  });
});

describe("T8 an event stream", () => {
  // The limit is passed with what it is told first, or with who is there.
  test.each([500, 150])(
    "that is too slow for the news of a gap is left alone from there on (%d)",
    (length) => {
      const kept = new Set<string>();
      const lenient = new LenientTopics({ clock: new VirtualClock(), backpressureLimitBytes: 300 });
      let isForgotten = false;
      const forget = () => {
        isForgotten = true;
      };
      const socket = new EdgeSocket(1, ref, {
        lenient,
        sendableBytesMax: 1_000_000,
        tooSlow: () => undefined,
        forget,
      });
      const topics = {
        ...untold,
        add: (name: string) => void kept.add(name),
        remove: (name: string) => void kept.delete(name),
      };
      const stream = new EventStream(socket, topics, 300);
      stream.response(undefined);
      const presence = { data: undefined, watches: true, snapshot: '{"count":1}' };
      socket.listen("t", startAt("h.1", { presence: { ...presence, snapshot: undefined } }));
      expect([...kept]).toEqual([nativeTopic(key, "t")]);
      stream.hear(said("t", "x".repeat(length), "h.2"));
      socket.hasMissed("t", startAt("h.9", { recovered: false, presence }));
      expect([[...kept], isForgotten]).toEqual([[], true]);
      expect(stream.isSubscribed(nativeTopic(key, presenceTopic("t")))).toBe(false);
    },
  );

  test("that is too slow for the news of a gap is not kept with those who are told one by one", () => {
    const lenient = new LenientTopics({ clock: new VirtualClock(), backpressureLimitBytes: 300 });
    const told = { count: 0 };
    class CountedStream extends EventStream {
      override hear(message: Parameters<EventStream["hear"]>[0]): void {
        told.count += 1;
        super.hear(message);
      }
    }
    const socket = new EdgeSocket(1, ref, {
      lenient,
      sendableBytesMax: 1_000_000,
      tooSlow: () => undefined,
      forget: () => undefined,
    });
    const topics = { ...untold, add: () => undefined, remove: () => undefined };
    const stream = new CountedStream(socket, topics, 300);
    stream.response(undefined);
    socket.listen("t", startAt("h.1"));
    stream.hear(said("t", "x".repeat(500), "h.2"));
    socket.hasMissed("t", startAt("h.9", { recovered: false, slowReaders: "conflate" }));
    told.count = 0;
    lenient.publish(nativeTopic(key, "t"), said("t", "late", "h.10"), undefined);
    expect(told.count).toBe(0);
  });

  const policies = [undefined, "drop-oldest", "conflate"] as const;
  const changes = policies.flatMap((before) => policies.map((after) => [before, after] as const));
  test.each(changes)(
    "T4 hears each message once after a gap, whatever the policy was and is (%p, %p)",
    async (before, after) => {
      const rig = new EdgeRig();
      const socket = rig.sockets.add(ref);
      const response = rig.sockets.eventStream(socket).response(undefined);
      socket.listen("t", startAt("h.1", policy(before)));
      socket.hasMissed("t", startAt("i.0", { recovered: false, ...policy(after) }));
      rig.sockets.publish(key, said("t", "hello", "i.1"), 0);
      socket.close(1000, "");
      const text = await response.text();
      expect(text.split("hello")).toHaveLength(2);
    },
  );
});

function policy(slowReaders: LenientPolicy | undefined): Partial<TopicStart> {
  return slowReaders === undefined ? {} : { slowReaders };
}

test("T8 drop-oldest: messages without any text count too, so that those that wait are bounded", () => {
  const lenient = new LenientTopics({ clock: new VirtualClock(), backpressureLimitBytes: 1024 });
  const socket = new EdgeSocket(1, objectRef("room", "a"), {
    lenient: lenient,
    sendableBytesMax: 1_000_000,
    tooSlow: () => undefined,
    forget: () => undefined,
  });
  const client = new FakeClient(socket);
  socket.connected(client);
  socket.listen("t", startAt("h.0", { slowReaders: "drop-oldest" }));
  client.bufferedBytes = 2048;
  for (let n = 0; n < 1000; n++) lenient.publish(nativeTopic(key, "t"), said("t", ""), undefined);
  expect(lenient.figures.skipped).toBeGreaterThan(1000 - 1024 / 16);
});
