import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { subscriptionsMax } from "../../infra/edge/framed-connection.ts";
import { until } from "../support/wait.ts";
import { subscriptionsPerTurn } from "../../infra/host/turns.ts";
import { earlyBytesMax, earlyCountMax } from "../../infra/edge/framed-topic.ts";
import { refusalLimitMs } from "../../infra/edge/refusal.ts";
import { problem, StatefulError } from "../../infra/lib/errors.ts";
import { saidOn, publishDone, publishFailure } from "../../infra/object/subscription-message.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { FramedRig } from "../support/framed-rig.ts";
import { said } from "../support/topic-message.ts";

/** What waited for a promise has run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("E27 what a subscription asks for", () => {
  test("the topic's own address, with the headers of the connection and not those of its handshake", () => {
    const rig = new FramedRig({
      headers: {
        cookie: "a=1",
        connection: "Upgrade, X-Hop",
        "x-hop": "1",
        "sec-websocket-key": "k",
        "last-event-id": "h.9",
      },
    });
    const client = rig.connect();
    const { ref, wanted, clientAddress } = client.ask("room/a%2Fb", "with space/é", {
      since: "h.1+2",
      presence: true,
      query: "since=other&x=#1 2",
    });
    const target =
      "/room/a%2Fb/-/topics/with%20space%2F%C3%A9?since=h.1%2B2&presence=1&since=other&x=%231%202";
    expect(ref.id).toBe("a/b");
    expect(wanted.head).toEqual({
      ...{ kind: "subscription", url: `http://edge.example${target}`, target },
      // Whatever `connection` names: nobody on the way has to take it off.
      headers: [
        ["cookie", "a=1"],
        ["x-hop", "1"],
      ],
    });
    expect(clientAddress).toBe("192.0.2.7");
  });

  test("one spelling for an object, however its client spells it", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    client.ask("room/%61b").begin();
    expect(client.frames).toEqual([{ type: "subscribed", id: 1, object: "room/ab", topic: "chat" }]);
  });

  test.each([
    "room",
    "room/",
    "",
    "/a",
    "room/a/b",
    "Room/a",
    "room/..",
    "room/%",
    "room/\ud800",
    "room/%ff",
  ])("the object %p is refused before anything is asked", (object) => {
    const rig = new FramedRig();
    const client = rig.connect();
    client.say({ type: "subscribe", id: 1, object, topic: "chat" });
    expect(client.frames[0]).toMatchObject({ type: "refused", id: 1 });
    expect(client.frames[0]?.status).toBeOneOf([400, 404]);
    expect([rig.asked.length, client.socket.closing]).toEqual([0, undefined]);
  });

  test.each([
    ["topic", ""],
    ["topic", "."],
    ["topic", ".."],
    ["topic", "x".repeat(257)],
    ["topic", "\udc00"],
    ["since", "\udc00"],
  ])("the %s %p is refused with 400", (field, text) => {
    const rig = new FramedRig();
    const client = rig.connect();
    client.say({ type: "subscribe", id: 1, object: "room/a", topic: "chat", [field]: text });
    expect(client.frames).toMatchObject([{ type: "refused", id: 1, status: 400 }]);
    expect(rig.asked).toEqual([]);
  });
});

describe("E31 hello", () => {
  test("joins the headers of the subscriptions from there on, and the next replaces it", () => {
    const rig = new FramedRig({ headers: { cookie: "a=1", "x-user": "own" } });
    const client = rig.connect();
    const headers = (id: number) => Object.fromEntries(rig.asked[id]?.wanted.head.headers ?? []);
    client.ask("room/1");
    client.say({ type: "hello", headers: { Authorization: " Bearer 1 ", "X-User": "hello" } });
    client.ask("room/2");
    client.say({ type: "hello", headers: {} });
    client.ask("room/3");
    expect([headers(0), headers(1), headers(2)]).toEqual([
      { cookie: "a=1", "x-user": "own" },
      { cookie: "a=1", "x-user": "hello", authorization: "Bearer 1" },
      { cookie: "a=1", "x-user": "own" },
    ]);
  });

  test("sets nothing that a page could not, or that a proxy says", () => {
    const names = ["Cookie", "HOST", "origin", "Sec-Fetch-Site", "connection", "Upgrade", "Content-Length"];
    names.push("X-Forwarded-For", "forwarded", "Fly-Client-IP", "proxy-authorization", "last-event-id", "te");
    for (const name of [...names, "x-edge-ip", "", "a b", "a:b", "é"]) {
      const client = new FramedRig({ trustedHeaders: ["x-edge-ip"] }).connect();
      client.say({ type: "hello", headers: { [name]: "1" } });
      expect([name, client.socket.closing?.[0]]).toEqual([name, 1008]);
    }
    for (const value of ["a\nb", "a\rb", "\0", "\u0100"]) {
      const client = new FramedRig().connect();
      client.say({ type: "hello", headers: { "x-a": value } });
      expect([value, client.socket.closing?.[0]]).toEqual([value, 1008]);
    }
  });

  test("is kept once for all subscriptions, and counted while one of them needs it", async () => {
    const rig = new FramedRig({ headers: { cookie: "x".repeat(1000) } });
    const heads = () => rig.sockets.headBytes;
    const client = rig.connect();
    const [first, second] = [client.ask("room/1").begin(), client.ask("room/2").begin()];
    expect(first.wanted.head.headers).toBe(second.wanted.head.headers);
    const two = heads();
    expect(two).toBeWithin(1000, 1400);
    client.say({ type: "hello", headers: { authorization: "y".repeat(1000) } });
    expect(heads()).toBe(two + 2019);
    client.say({ type: "unsubscribe", id: 1 });
    expect(heads()).toBeGreaterThan(3000);
    client.say({ type: "unsubscribe", id: 2 });
    expect(heads()).toBe(2019);
    client.connection.disconnected(1000, "");
    expect([heads(), rig.sockets.size]).toEqual([0, 0]);
  });

  test("over the limit of an upgrade's head closes the connection", () => {
    const client = new FramedRig().connect();
    client.say({ type: "hello", headers: { a: "x".repeat(33 * 1024) } });
    expect(client.socket.closing?.[0]).toBe(1009);
  });
});

describe("E28 one subscription", () => {
  test("begins with where it stands and what was missed, before anything that is new", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/a");
    rig.sockets.publish("room/a", said("chat", "too early"), 0);
    asked.accept();
    const missed = [
      { data: '{"n":1}', form: "json", position: "h.1" },
      { data: '"two"', form: "text", position: "h.2" },
      { data: new Uint8Array([255]), form: "bytes", position: "h.3" },
    ] as const;
    asked.socket.listen("chat", { position: "h.0", recovered: true, missed });
    rig.sockets.publish("room/a", { topic: "chat", data: "[4]", form: "json", position: "h.4" }, 0);
    asked.socket.hasMissed("chat", { position: "i.0", recovered: false, missed: [] });
    rig.sockets.publish("room/a", said("chat", "five", "i.1"), 0);
    const name = { object: "room/a", topic: "chat" };
    expect(client.frames).toEqual([
      { type: "subscribed", id: 1, ...name, position: "h.0", recovered: true },
      { type: "message", ...name, position: "h.1", data: { n: 1 } },
      { type: "message", ...name, position: "h.2", text: '"two"' },
      { type: "message", ...name, position: "h.3", bytes: "/w==" },
      { type: "message", ...name, position: "h.4", data: [4] },
      { type: "subscribed", id: 1, ...name, position: "i.0", recovered: false },
      { type: "message", ...name, position: "i.1", text: "five" },
    ]);
  });

  test("that is refused says so with the problem document, and its id and topic are free", async () => {
    const client = new FramedRig().connect();
    client.ask("room/a").refuse(problem(new StatefulError("topic_closed", "Not open.")));
    await settled();
    client.say({ type: "subscribe", id: 1, object: "room/a", topic: "chat" });
    expect(client.frames).toMatchObject([
      { type: "refused", id: 1, status: 403, error: { code: "topic_closed", detail: "Not open." } },
    ]);
  });

  test("whose hook answers without end is refused with what came in time", async () => {
    const rig = new FramedRig();
    const client = rig.connect();
    let isCancelled = false;
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("wait")),
      cancel: () => {
        isCancelled = true;
      },
    });
    client.ask("room/a").refuse(new Response(body, { status: 503 }));
    await settled();
    expect(client.frames).toEqual([]);
    await rig.clock.advance(refusalLimitMs + 1);
    expect(client.frames).toMatchObject([{ type: "refused", status: 503, error: { detail: "wait" } }]);
    expect(isCancelled).toBe(true);
  });

  test("whose answer nobody waits for any more is not read, however it comes", async () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/a");
    client.say({ type: "unsubscribe", id: 1 });
    let isCancelled = false;
    const cancel = () => {
      isCancelled = true;
    };
    asked.refuse(new Response(new ReadableStream({ cancel }), { status: 401 }));
    await settled();
    const taken = new Response("read already", { status: 401 });
    await taken.text();
    client.ask("room/b").refuse(taken);
    await settled();
    expect([isCancelled, client.frames.length]).toEqual([true, 2]);
    expect(client.frames[1]).toMatchObject({
      type: "refused",
      status: 401,
      error: { title: "Unauthorized" },
    });
  });

  test("with an id or a topic that is taken is refused with 409, and the first goes on", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const first = client.ask("room/a").begin();
    client.say({ type: "subscribe", id: 1, object: "room/b", topic: "chat" });
    client.say({ type: "subscribe", id: 2, object: "room/%61", topic: "chat" });
    expect(client.frames.slice(1)).toMatchObject([
      { type: "refused", id: 1, status: 409, error: { code: "already_subscribed" } },
      { type: "refused", id: 2, status: 409, error: { code: "already_subscribed" } },
    ]);
    expect([rig.asked.length, first.events]).toEqual([1, ["opened"]]);
  });

  test("ends with unsubscribe, with its owner's close, or with the connection, and the owner hears it once", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const [first, second, third] = ["a", "b", "c"].map((id) => client.ask(`room/${id}`).begin());
    client.say({ type: "unsubscribe", id: 1 });
    client.say({ type: "unsubscribe", id: 1 });
    second?.socket.close(4007, "out");
    second?.socket.close(4007, "again");
    client.connection.disconnected(1001, "left");
    expect([first, second, third].map((asked) => asked?.events)).toEqual([
      ["opened", [1000, ""]],
      ["opened", [4007, "out"]],
      ["opened", [1001, "left"]],
    ]);
    expect(client.frames.slice(3)).toEqual([
      { type: "unsubscribed", id: 1, object: "room/a", topic: "chat", code: 1000, reason: "" },
      { type: "unsubscribed", id: 2, object: "room/b", topic: "chat", code: 4007, reason: "out" },
    ]);
    expect([rig.sockets.size, client.socket.topics.size]).toEqual([0, 1]);
    rig.sockets.publish("room/c", said("chat", "to nobody"), 0);
    expect(rig.natively).toEqual([["room/c\nchat", "to nobody"]]);
  });

  test("that is given up before it is answered aborts its request, takes its place until then, and never begins", async () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/a");
    client.say({ type: "unsubscribe", id: 1 });
    expect(asked.wanted.signal.aborted).toBe(true);
    for (let n = 1; n < subscriptionsMax; n++) client.ask(`room/${n}`);
    client.ask("room/more");
    expect(client.frames.slice(1)).toMatchObject([{ type: "refused", status: 429 }]);
    expect(asked.accept()).toBe(false);
    await settled();
    client.ask("room/more");
    expect(client.frames).toHaveLength(2);
    expect(asked.events).toEqual([[1006, "The client left."]]);
  });

  test("hears its own topic only, and what its owner sends it as a message of that topic", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/a").begin();
    asked.socket.subscribe("other");
    asked.socket.unsubscribe("other");
    asked.socket.send("to you");
    asked.socket.unsubscribe("chat");
    rig.sockets.publish("room/a", said("chat", "unheard"), 0);
    asked.socket.subscribe("chat");
    rig.sockets.publish("room/a", said("chat", "heard"), 0);
    expect(client.frames.map(({ type, text }) => text ?? type)).toEqual([
      "subscribed",
      "to you",
      "subscribed",
      "heard",
    ]);
  });

  test("publishes in three forms, and is told what became of it", () => {
    const client = new FramedRig().connect();
    const asked = client.ask("room/a").begin();
    client.say({ type: "publish", id: 1, data: null });
    client.say({ type: "publish", id: 1, data: "text" });
    client.say({ type: "publish", id: 1, text: "j" });
    client.say({ type: "publish", id: 1, bytes: "AP8=", ref: 12 });
    client.say({ type: "publish", id: 7, bytes: "", ref: 13 });
    asked.socket.send(publishFailure(new StatefulError("invalid_input", "No."), undefined));
    asked.socket.send(publishDone(12, "h.1"));
    asked.socket.send(publishDone(14, undefined));
    const messages = asked.events.slice(1) as SocketData[]; // after "opened" it was told of messages alone
    expect(messages.map(saidOn)).toEqual([
      { payload: { data: "null", form: "json" }, ref: undefined },
      { payload: { data: '"text"', form: "json" }, ref: undefined },
      { payload: { data: "j", form: "text" }, ref: undefined },
      { payload: { data: new Uint8Array([0, 255]), form: "bytes" }, ref: 12 },
    ]);
    expect(client.frames.slice(1)).toMatchObject([
      { type: "failed", id: 7, ref: 13, error: { code: "not_found" } },
      { type: "failed", id: 1, error: { code: "invalid_input", detail: "No." } },
      { type: "published", id: 1, ref: 12, position: "h.1" },
      { type: "published", id: 1, ref: 14 },
    ]);
  });

  test("keeps what is published before it begins, in order, within a limit", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const [first, second] = [client.ask("room/a"), client.ask("room/b")];
    for (const text of ["1", "2"]) client.say({ type: "publish", id: 1, text });
    first.accept();
    expect(first.events).toEqual(["opened", "t:1", "t:2"]);
    const long = "x".repeat(earlyBytesMax / 2 - 2);
    for (let n = 0; n < 3; n++) client.say({ type: "publish", id: 2, text: long });
    expect(client.frames).toEqual([]);
    client.say({ type: "publish", id: 2, text: "" });
    expect(client.frames).toMatchObject([{ type: "unsubscribed", id: 2, code: 1013 }]);
    expect(second.wanted.signal.aborted).toBe(true);
    const third = client.ask("room/c");
    for (let n = 0; n <= earlyCountMax; n++) client.say({ type: "publish", id: 3, text: "" });
    expect([client.frames.length, third.wanted.signal.aborted]).toEqual([2, true]);
    expect(client.connection.early).toEqual({ bytes: 0, count: 0 });
  });
});

describe("E29 a message of a topic", () => {
  test("is put into a frame once for all connections, and not at all where nobody listens in frames", () => {
    const rig = new FramedRig();
    rig.sockets.publish("room/a", said("chat", "nobody"), 0);
    const clients = Array.from({ length: 50 }, () => rig.connect());
    for (const client of clients) client.ask("room/a").begin();
    rig.natively.length = 0;
    rig.sockets.publish("room/a", said("chat", "all"), 0);
    expect(rig.natively.map(([name]) => name)).toEqual(["room/a\nchat", "\nroom/a\nchat"]);
    for (const client of clients) expect(client.frames.map(({ text }) => text)).toEqual([undefined, "all"]);
    for (const client of clients.slice(1)) client.connection.disconnected(1000, "");
    clients[0]?.say({ type: "unsubscribe", id: 1 });
    rig.natively.length = 0;
    rig.sockets.publish("room/a", said("chat", "nobody"), 0);
    expect(rig.natively.map(([name]) => name)).toEqual(["room/a\nchat"]);
  });

  test("leaves out the subscription that it excepts", () => {
    const rig = new FramedRig();
    const [one, two] = [rig.connect(), rig.connect()];
    const asked = one.ask("room/a").begin();
    two.ask("room/a").begin();
    rig.sockets.publish("room/a", said("chat", "to the other"), asked.socket.socketId);
    expect([one.frames.length, two.frames.length]).toEqual([1, 2]);
    expect(rig.natively[0]).toEqual(["room/a\nchat", "to the other"]);
  });

  test("is one JSON object, whatever it says and is called", () => {
    const text = fc.string({ unit: "binary", maxLength: 20 });
    fc.assert(
      fc.property(text, fc.jsonValue(), fc.uint8Array(), text, (topic, value, bytes, position) => {
        const isName = topic.isWellFormed() && !["", ".", ".."].includes(topic) && !topic.startsWith("\0");
        if (!isName) return;
        const rig = new FramedRig();
        const client = rig.connect();
        client.ask("room/a", topic).begin();
        rig.sockets.publish("room/a", { topic, data: JSON.stringify(value), form: "json", position }, 0);
        rig.sockets.publish("room/a", { topic, data: position, form: "text", position: undefined }, 0);
        rig.sockets.publish("room/a", { topic, data: bytes, form: "bytes", position }, 0);
        const name = { type: "message", object: "room/a", topic };
        expect(client.frames.slice(1)).toEqual([
          { ...name, position, data: JSON.parse(JSON.stringify(value)) },
          { ...name, text: position },
          { ...name, position, bytes: bytes.toBase64() },
        ]);
      }),
      { numRuns: 200 },
    );
  });
});

describe("E30 what is bounded", () => {
  test("E35 subscriptions that are asked for in one go begin some at a time, in order", async () => {
    const rig = new FramedRig();
    const client = rig.connect();
    for (let n = 1; n <= 200; n++)
      client.say({ type: "subscribe", id: n, object: `room/${n}`, topic: "chat" });
    client.say({ type: "unsubscribe", id: 200 }); // before it has begun
    expect(rig.asked).toHaveLength(subscriptionsPerTurn);
    await until("all that are still wanted have begun", () => rig.asked.length === 199);
    const objects = rig.asked.map(({ ref }) => ref.key);
    expect(objects).toEqual(Array.from({ length: 199 }, (_, n) => `room/${n + 1}`));
  });

  test("a connection has its own place, and each subscription one", async () => {
    const rig = new FramedRig({ socketsMax: 2 });
    const client = rig.connect();
    expect(rig.sockets.isFull).toBe(false);
    client.ask("room/a");
    expect(rig.sockets.isFull).toBe(true);
    expect(() => rig.accept()).toThrow(expect.objectContaining({ code: "host_full" }));
    client.connection.disconnected(1000, "");
    rig.asked[0]?.accept();
    expect(rig.sockets.size).toBe(0);
    rig.isDraining = true;
    expect(() => rig.accept()).toThrow(expect.objectContaining({ code: "host_draining" }));
  });

  test("a client is welcomed in the highest version that both speak, and one that says nothing in the first", () => {
    const versions = { oldest: 1, newest: 2 };
    for (const [query, protocol] of [
      ["", 1],
      ["?protocol=1", 1],
      ["?protocol=2", 2],
      ["?protocol=9", 2],
    ] as const) {
      const client = new FramedRig({ versions }).connect(undefined, query);
      expect(client.socket.frames[0]).toMatchObject({ type: "welcome", protocol });
    }
  });

  test("a client whose version is too old is told so once it is open, where a page can hear it", () => {
    const client = new FramedRig({ versions: { oldest: 2, newest: 3 } }).connect(undefined, "?protocol=1");
    expect(client.socket.frames).toEqual([]);
    const why = "The client speaks version 1 of the protocol, and this host versions 2 to 3: load it anew.";
    expect(client.socket.closing).toEqual([4426, why]);
  });

  test("a version that is none is refused before there is a connection", () => {
    for (const wrong of ["x", "0", "-1", "1.5", "", "9999999999"])
      expect(() => new FramedRig().accept(undefined, `?protocol=${wrong}`)).toThrow(
        expect.objectContaining({ code: "bad_request" }),
      );
  });

  test("anything but a WebSocket is told what is spoken there", () => {
    const { route } = new FramedRig();
    for (const method of ["GET", "POST"])
      expect(() => route.accept(new Request("http://x/-/connect", { method }), "")).toThrow(
        expect.objectContaining({ status: 426 }),
      );
  });

  test("a reader who is too slow for one is too slow for all, and is seen once", async () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const [first, second] = [client.ask("room/a").begin(), client.ask("room/b").begin()];
    client.socket.bufferedBytes = 700;
    expect(rig.sockets.bufferedBytes).toBe(700);
    await rig.clock.advance(300);
    expect(client.socket.closing).toBeUndefined();
    client.socket.bufferedBytes = 1001;
    await rig.clock.advance(300);
    expect(client.socket.closing).toEqual([4408, "The reader is too slow."]);
    expect([first, second].map(({ events }) => events.at(-1))).toEqual([
      [4408, "The reader is too slow."],
      [4408, "The reader is too slow."],
    ]);
    const other = rig.connect();
    const asked = other.ask("room/a").begin();
    asked.socket.close(4408, "The reader is too slow.");
    expect(other.socket.closing?.[0]).toBe(4408);
    expect(rig.sockets.slowReadersClosed).toBe(2);
  });

  test("a host that goes away closes connections, those that are not connected yet too, and keeps none", () => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/a").begin();
    const pending = rig.accept();
    rig.sockets.closeAll(1012, "going");
    expect([client.socket.closing, asked.events.at(-1)]).toEqual([
      [1012, "going"],
      [1012, "going"],
    ]);
    const late = rig.connect();
    pending.connected(late.socket);
    expect(late.socket.closing).toEqual([1012, "going"]);
    rig.sockets.stop();
    expect(rig.sockets.size).toBe(0);
  });

  test.each([
    ["bytes", new Uint8Array([123, 125])],
    ["no JSON", "{"],
    ["nothing", ""],
    ["a list", "[]"],
    ["null", "null"],
    ["no type", "{}"],
    ["an unknown type", '{"type":"constructor"}'],
    ["a deep list", "[".repeat(500_000)],
    ["a deep object", `{"type":"publish","id":1,"data":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["an unknown field", '{"type":"ping","__proto__":1}'],
    ["an id that is no number", '{"type":"unsubscribe","id":"1"}'],
    ["an id of zero", '{"type":"unsubscribe","id":0}'],
    ["half an id", '{"type":"unsubscribe","id":1.5}'],
    ["a huge id", '{"type":"unsubscribe","id":1e300}'],
    ["no topic", '{"type":"subscribe","id":1,"object":"room/a"}'],
    ["an object that is none", '{"type":"subscribe","id":1,"object":{},"topic":"a"}'],
    ["presence that is false", '{"type":"subscribe","id":1,"object":"room/a","topic":"a","presence":false}'],
    ["since that is null", '{"type":"subscribe","id":1,"object":"room/a","topic":"a","since":null}'],
    ["two payloads", '{"type":"publish","id":1,"data":1,"text":"a"}'],
    ["no payload", '{"type":"publish","id":1}'],
    ["no base64", '{"type":"publish","id":1,"bytes":"a"}'],
    ["hello without headers", '{"type":"hello"}'],
    ["headers in a list", '{"type":"hello","headers":["a"]}'],
    ["a header that is a number", '{"type":"hello","headers":{"a":1}}'],
  ])("%s closes the connection with 1008, says why, and nothing is heard after it", (_, frame) => {
    const rig = new FramedRig();
    const client = rig.connect();
    const asked = client.ask("room/b").begin();
    client.connection.received(frame);
    client.say({ type: "ping" });
    const [code, reason = ""] = client.socket.closing ?? [];
    expect([code, reason.length > 10, new TextEncoder().encode(reason).length <= 123]).toEqual([
      1008,
      true,
      true,
    ]);
    expect(asked.events.at(-1)).toEqual([1008, reason]);
    expect([client.frames.length, rig.sockets.size, rig.errors]).toEqual([1, 0, []]);
  });

  test("brackets in a text are not counted, and 128 within each other are taken", () => {
    const client = new FramedRig().connect();
    const asked = client.ask("room/a").begin();
    client.say({ type: "publish", id: 1, text: `\\"${"[".repeat(1000)}` });
    const list = `${"[".repeat(127)}${"]".repeat(127)}`;
    client.connection.received(`{"type":"publish","id":1,"data":${list}}`);
    expect([client.socket.closing, asked.events.at(-1)]).toEqual([undefined, `j:${list}`]);
    client.connection.received(`{"type":"publish","id":1,"data":[${list}]}`);
    expect(client.socket.closing?.[0]).toBe(1008);
  });

  test("a frame over 1 MiB closes with 1009, but for a publish, whose class has a limit of its own", () => {
    const client = new FramedRig().connect();
    const asked = client.ask("room/a").begin();
    client.say({ type: "publish", id: 1, text: "x".repeat(2 * 1024 * 1024) });
    expect([client.socket.closing, asked.events.length]).toEqual([undefined, 2]);
    client.say({ type: "subscribe", id: 2, object: "room/b", topic: "x".repeat(1024 * 1024) });
    expect(client.socket.closing?.[0]).toBe(1009);
  });

  test("E30 whatever a client says in whatever order: no throw, no log, and nothing left behind", () => {
    const id = fc.constantFrom(0, 1, 2, 3, -1, 1.5, "1");
    const part = fc.constantFrom("room/a", "room/b", "room", "", "chat", "..", "%", "\ud800", "x\ny");
    const frame = fc.oneof(
      fc.record(
        {
          type: fc.constantFrom("subscribe", "subscribe", "unsubscribe", "publish", "ping", "hello", "x"),
          ...{ id, object: part, topic: part, since: part, query: part, presence: fc.constant(true) },
          ...{ text: part, data: fc.jsonValue(), bytes: part, headers: fc.dictionary(part, part) },
        },
        { requiredKeys: ["type"] },
      ),
      fc.record({ type: fc.constant("subscribe"), id, object: part, topic: part }),
      fc.record({ type: fc.constant("unsubscribe"), id }),
      fc.record({ type: fc.constant("publish"), id, text: part }),
    );
    const bytes = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.uint8Array());
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: frame.map((value) => ({ kind: "say", value: JSON.stringify(value) }) as const),
      },
      { weight: 1, arbitrary: bytes.map((value) => ({ kind: "say", value }) as const) },
      { weight: 4, arbitrary: fc.nat().map((value) => ({ kind: "accept", value }) as const) },
      { weight: 2, arbitrary: fc.nat().map((value) => ({ kind: "refuse", value }) as const) },
      { weight: 2, arbitrary: fc.nat().map((value) => ({ kind: "close", value }) as const) },
      { weight: 2, arbitrary: fc.nat().map((value) => ({ kind: "publish", value }) as const) },
    );
    return fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const rig = new FramedRig();
        let client = rig.connect();
        for (const { kind, value } of steps) {
          if (client.socket.closing) client = rig.connect();
          const asked =
            typeof value === "number" ? rig.asked[value % Math.max(1, rig.asked.length)] : undefined;
          if (kind === "say") client.connection.received(value);
          else if (kind === "accept" && asked?.isAnswered === false) asked.begin();
          else if (kind === "refuse" && asked?.isAnswered === false)
            asked.refuse(new Response("no", { status: 401 }));
          else if (kind === "close") asked?.socket.close(4001, "by the owner");
          else if (kind === "publish") rig.sockets.publish("room/a", said("chat", "hello"), value % 5);
          if (value === 7) await settled();
        }
        client.connection.disconnected(1000, "");
        for (const asked of rig.asked) if (!asked.isAnswered) asked.accept();
        await settled();
        expect([rig.sockets.size, rig.sockets.headBytes, rig.errors]).toEqual([0, 0, []]);
        expect(rig.sockets.framedNames.size).toBe(0);
        for (const { events } of rig.asked)
          expect(events.filter((event) => Array.isArray(event)).length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 300 },
    );
  }, 30_000);
});
