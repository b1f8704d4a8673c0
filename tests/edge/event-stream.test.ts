import { expect, test } from "bun:test";
import fc from "fast-check";
import type { SocketOwner } from "../../infra/edge/edge-socket.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { anyAddress } from "../support/any-address.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { said } from "../support/topic-message.ts";

const ref = objectRef("room", "a");

class NotingOwner implements SocketOwner {
  readonly events: unknown[] = [];
  opened(): void {
    this.events.push("opened");
  }
  message(message: SocketData): void {
    this.events.push(message);
  }
  drained(): void {
    this.events.push("drained");
  }
  closed(code: number, reason: string): void {
    this.events.push([code, reason]);
  }
}

function listen(backpressureLimitBytes = 1024) {
  const native: [string, SocketData][] = [];
  const clock = new VirtualClock();
  const publishNatively = (name: string, message: SocketData) => void native.push([name, message]);
  const unowned = { seek: () => undefined, owns: () => undefined };
  const sockets = new EdgeSockets({
    addresses: anyAddress,
    clock,
    publishNatively,
    socketsMax: 10,
    backpressureLimitBytes,
    ...unowned,
  });
  const join = () => {
    const socket = sockets.add(ref);
    const owner = new NotingOwner();
    socket.attachOwner(owner);
    const stream = sockets.eventStream(socket);
    const response = stream.response(new Headers({ "x-author": "1", "content-type": "text/html" }));
    return { socket, owner, stream, response };
  };
  return { sockets, clock, native, ...join(), join };
}

/** A reader of the events of a stream, by the rules of the HTML standard, section 9.2.6. */
async function* eventsOf(response: Response) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let rest = "";
  for await (const chunk of response.body ?? []) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split(/\r\n|\r|\n/).filter((line) => !line.startsWith(":"));
      const field = (name: string) =>
        lines
          .filter((line) => line.startsWith(`${name}:`))
          .map((line) => line.slice(name.length + 1).replace(/^ /, ""));
      if (lines.length > 0) yield { event: field("event")[0] ?? "message", data: field("data").join("\n") };
    }
  }
}

test("the answer is an event stream, whatever the author set, and keeps the author's other headers", () => {
  const { response, owner } = listen();
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("x-author")).toBe("1");
  expect(owner.events).toEqual(["opened"]);
});

test("every message is one event with the text that was sent, line breaks at any place included", async () => {
  const line = fc.string({
    unit: fc.constantFrom("a", " ", ":", "\n", "\uFEFF", "é", "data: "),
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 5 }), async (messages) => {
      const { socket, response } = listen();
      for (const message of messages) socket.send(message);
      socket.close(1000, "done");
      const events = await Array.fromAsync(eventsOf(response));
      const data = events.filter(({ event }) => event === "message").map((event) => event.data);
      expect(data).toEqual(messages);
    }),
  );
});

test("carriage returns are line breaks too, and bytes are sent as their text", async () => {
  const { socket, response } = listen();
  socket.send("a\r\nb\rc");
  socket.send(new TextEncoder().encode("höhe"));
  socket.close(1000, "");
  const events = await Array.fromAsync(eventsOf(response));
  expect(events.map(({ data }) => data).slice(0, 2)).toEqual(["a\nb\nc", "höhe"]);
});

test("a close says why, as an event of its own, and is told to the owner once", async () => {
  const { socket, response, owner, sockets } = listen();
  socket.close(4403, 'a "reason"');
  socket.close(1000, "again");
  expect(await Array.fromAsync(eventsOf(response))).toEqual([
    { event: "close", data: JSON.stringify({ code: 4403, reason: 'a "reason"' }) },
  ]);
  expect(owner.events).toEqual(["opened", [4403, 'a "reason"']]);
  expect(sockets.size).toBe(0);
});

test("a client that leaves is forgotten with its subscriptions", async () => {
  const { socket, response, owner, sockets } = listen();
  socket.subscribe("chat");
  await response.body?.cancel();
  expect(owner.events).toEqual(["opened", [1001, "The client left."]]);
  expect(sockets.size).toBe(0);
  sockets.publish(ref.key, said("chat", "hello"), 0);
  expect(socket.send("late")).toBe(0);
});

test("a topic's messages reach streams and WebSockets alike, and only its subscribers", async () => {
  const { socket, response, sockets, native, join } = listen();
  const other = join();
  socket.subscribe("chat");
  other.socket.subscribe("chat");
  other.socket.unsubscribe("chat");
  sockets.publish(ref.key, said("chat", "hello"), 0);
  sockets.publish("room/b", said("chat", "not for here"), 0);
  socket.close(1000, "");
  other.socket.close(1000, "");
  expect((await Array.fromAsync(eventsOf(response))).map(({ data }) => data)[0]).toBe("hello");
  expect(await Array.fromAsync(eventsOf(other.response))).toHaveLength(1);
  expect(native).toEqual([
    ["room/a\nchat", "hello"],
    ["room/b\nchat", "not for here"],
  ]);
});

test("what waits for a reader that does not read is bounded, and past it the stream breaks off instead of having a gap", async () => {
  const { socket, response, owner, sockets } = listen(1024);
  socket.subscribe("chat");
  const message = "x".repeat(300);
  for (let n = 0; n < 10; n++) sockets.publish(ref.key, said("chat", message), 0);
  expect(owner.events.at(-1)).toEqual([4408, "The reader is too slow."]);
  expect([sockets.size, sockets.slowReadersClosed]).toEqual([0, 1]);
  await expect(Array.fromAsync(eventsOf(response))).rejects.toMatchObject({ code: "backpressure" });
});

test("a reader that keeps up is never broken off", async () => {
  const { socket, response, owner } = listen(1024);
  const events = eventsOf(response);
  for (let n = 0; n < 50; n++) {
    socket.send("x".repeat(300));
    await events.next();
  }
  expect(owner.events).toEqual(["opened"]);
  socket.terminate();
});

test("a comment passes every 15 s where slow readers are not closed, too, and once for a stream of several topics", async () => {
  const { response, clock, socket, sockets } = listen();
  socket.listen("chat", { position: undefined, recovered: undefined, missed: [], slowReaders: "conflate" });
  socket.subscribe("news");
  socket.subscribe("more");
  const reader = response.body?.getReader();
  const next = async () => new TextDecoder().decode((await reader?.read())?.value);
  await next(); // : connected
  await next(); // subscribed
  await clock.advance(30_500);
  expect([await next(), await next()]).toEqual([": ping\n\n", ": ping\n\n"]);
  sockets.stop();
});

test("T8 a message is encoded once for all event streams, however many wait for it", async () => {
  const { join, sockets, response } = listen(1_000_000);
  const others = Array.from({ length: 20 }, join);
  const responses = [response, ...others.map((other) => other.response)];
  const readers = responses.map(({ body }) => body?.getReader());
  for (const reader of readers) await reader?.read();
  for (const { socket } of others) socket.subscribe("chat");
  sockets.publish(ref.key, said("chat", "x".repeat(1000)), 0);
  const chunks = await Promise.all(readers.slice(1).map(async (reader) => (await reader?.read())?.value));
  expect(chunks[0]?.length).toBeGreaterThan(1000);
  expect(new Set(chunks.map((chunk) => chunk?.buffer)).size).toBe(1);
  sockets.stop();
});

test("E32 an event stream of which nothing is taken for two minutes, though something waits, is broken off", async () => {
  const { response, clock, socket, owner, sockets, join } = listen();
  socket.subscribe("chat");
  const slow = join();
  slow.socket.subscribe("chat");
  const reader = slow.response.body?.getReader();
  sockets.publish(ref.key, said("chat", "news"), 0);
  for (let n = 0; n < 4; n++) {
    await clock.advance(30_250);
    await reader?.read(); // a little now and then is enough
  }
  expect(owner.events).toEqual(["opened", [4408, "The reader is too slow."]]);
  expect(slow.owner.events).toEqual(["opened"]);
  await expect(response.text()).rejects.toThrow();
  sockets.stop();
});

test("a comment passes every 15 s, so that no proxy takes the stream for dead", async () => {
  const { response, clock, socket, sockets } = listen();
  socket.subscribe("chat");
  const reader = response.body?.getReader();
  await reader?.read();
  await clock.advance(15_300);
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(": ping\n\n");
  sockets.stop();
  expect(clock.timersLeft).toBe(0);
});
