import { expect, test } from "bun:test";
import type { SocketOwner } from "../../infra/edge/edge-socket.ts";
import { nativeTopic } from "../../infra/edge/edge-socket.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { anyAddress } from "../support/any-address.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { FakeClient } from "../support/fake-client.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { said } from "../support/topic-message.ts";

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

function edge(changes: { socketsMax?: number; backpressureLimitBytes?: number } = {}) {
  const clock = new VirtualClock();
  const native: [string, SocketData][] = [];
  const publishNatively = (name: string, message: SocketData) => void native.push([name, message]);
  const sockets = new EdgeSockets({
    addresses: anyAddress,
    ...{ clock, publishNatively, socketsMax: 10, backpressureLimitBytes: 1000 },
    ...{ seek: () => undefined, owns: () => undefined },
    ...changes,
  });
  const add = (key = "a") => {
    const socket = sockets.add(objectRef("room", key));
    const owner = new NotingOwner();
    socket.attachOwner(owner);
    return { socket, owner, connection: new FakeClient(socket) };
  };
  return { clock, sockets, native, add };
}

test("what the owner does before the client is connected takes effect then, in order, before open", () => {
  const { socket, owner, connection } = edge().add();
  expect(socket.send("first")).toBe(5);
  socket.subscribe("chat");
  socket.subscribe("other");
  socket.unsubscribe("other");
  socket.send("second");
  expect(owner.events).toEqual([]);
  socket.connected(connection);
  expect(connection.heard).toEqual(["first", "second"]);
  expect([...connection.topics]).toEqual([nativeTopic("room/a", "chat")]);
  expect(owner.events).toEqual(["opened"]);
});

test("a close, and a terminate, before the client is connected mean that open never runs", () => {
  for (const [end, code] of [
    ["close", 4001],
    ["terminate", 1006],
  ] as const) {
    const { socket, owner, connection } = edge().add();
    if (end === "close") socket.close(4001, "no");
    else socket.terminate();
    socket.send("nobody hears this");
    socket.connected(connection);
    expect([connection.heard, connection.closing?.[0]]).toEqual([[], code]);
    expect(owner.events).toEqual([[code, end === "close" ? "no" : ""]]);
  }
});

test("more commands than may wait close the socket when it connects, instead of dropping some of them", () => {
  const { socket, owner, connection } = edge().add();
  let sent = 0;
  while (socket.send("x") === 1) sent++;
  expect(sent).toBe(256);
  expect(socket.send("y")).toBe(-1);
  socket.connected(connection);
  expect([connection.heard, connection.closing]).toEqual([[], [4408, "The reader is too slow."]]);
  expect(owner.events).toEqual([[4408, "The reader is too slow."]]);
});

test("a client that never comes is told to the owner once, and forgotten", () => {
  const { sockets, add } = edge();
  const { socket, owner } = add();
  socket.disconnected(1006, "");
  socket.disconnected(1000, "again");
  expect(owner.events).toEqual([[1006, ""]]);
  expect(sockets.size).toBe(0);
  expect(socket.send("x")).toBe(0);
});

test("a message that Bun dropped is told apart from one that it queued", () => {
  const { socket, connection } = edge().add();
  socket.connected(connection);
  expect(socket.send("four")).toBe(4);
  connection.isFull = true;
  expect(socket.send("four")).toBe(-1);
  expect(socket.send("")).toBe(0);
});

test("E6 what an owner sends to one client between two sweeps is bounded", () => {
  const { socket, connection } = edge({ backpressureLimitBytes: 1000 }).add();
  socket.connected(connection);
  connection.isBehind = true;
  connection.bufferedBytes = 16_000;
  expect(socket.send("four")).toBe(4);
  connection.bufferedBytes = 16_001;
  expect(socket.send("four")).toBe(-1);
  // One that takes it at once is not behind, whatever is told of its buffer.
  connection.isBehind = false;
  expect(socket.send("four")).toBe(4);
});

test("the sender of a publish is left out, and everyone else hears it, event streams included", async () => {
  const { sockets, add, native } = edge();
  const { socket, connection } = add();
  socket.connected(connection);
  socket.subscribe("chat");
  const listener = sockets.add(objectRef("room", "a"));
  listener.attachOwner(new NotingOwner());
  const response = sockets.eventStream(listener).response(undefined);
  listener.subscribe("chat");
  sockets.publish("room/a", said("chat", "hello"), socket.socketId);
  expect(connection.published).toEqual([["room/a\nchat", "hello"]]);
  expect(native).toEqual([]);
  listener.close(1000, "");
  expect(await response.text()).toContain("data: hello\n\n");
});

test("a sender that is not subscribed, or has gone, leaves nobody out", () => {
  const { sockets, add, native } = edge();
  const { socket, connection } = add();
  socket.connected(connection);
  sockets.publish("room/a", said("chat", "one"), socket.socketId);
  socket.disconnected(1000, "");
  sockets.publish("room/a", said("chat", "two"), socket.socketId);
  expect(native.map(([, message]) => message)).toEqual(["one", "two"]);
});

test("no two topics of two objects share a name", () => {
  const names = new Set<string>();
  const ids = ["1", "1\nchat", "1/chat", "1%0Achat", "1\n"];
  const topics = ["chat", "\nchat", "chat\nchat", "/chat", ""];
  for (const id of ids) for (const topic of topics) names.add(nativeTopic(objectRef("room", id).key, topic));
  expect(names.size).toBe(ids.length * topics.length);
});

test("a reader over the limit is closed by the sweep, one under it is not", async () => {
  const { clock, sockets, add } = edge({ backpressureLimitBytes: 1000 });
  const [slow, quick] = [add(), add()];
  for (const { socket, connection } of [slow, quick]) socket.connected(connection);
  slow.connection.bufferedBytes = 1001;
  quick.connection.bufferedBytes = 1000;
  await clock.advance(300);
  expect(slow.owner.events).toEqual(["opened", [4408, "The reader is too slow."]]);
  expect(quick.owner.events).toEqual(["opened"]);
  sockets.stop();
  expect(clock.timersLeft).toBe(0);
});

test("E6 a publisher that is faster than the sweep does not fill the edge's memory for a slow reader", () => {
  const { sockets, add } = edge({ backpressureLimitBytes: 1000 });
  const slow = add();
  slow.socket.connected(slow.connection);
  for (let published = 0; published < 5000 && slow.connection.closing === undefined; published += 100) {
    sockets.publish("room/a", said("chat", "x".repeat(100)), 0);
    slow.connection.bufferedBytes += 100;
  }
  expect(slow.connection.closing).toEqual([4408, "The reader is too slow."]);
  // What may wait, and as much again until it is seen.
  expect(slow.connection.bufferedBytes).toBeLessThanOrEqual(2000);
});

test("E6 clients that are closed for reading too slowly are counted, by whomever that was noticed, and each once", async () => {
  const { clock, sockets, add } = edge({ backpressureLimitBytes: 1000 });
  const [swept, told, full, left, own] = [add(), add(), add(), add(), add()];
  while (full.socket.send("x") === 1);
  for (const { socket, connection } of [swept, told, full, left, own]) socket.connected(connection);
  swept.connection.bufferedBytes = 1001;
  await clock.advance(300);
  told.socket.close(4408, "by its owner");
  told.socket.close(4408, "again");
  left.socket.close(1000, "for another reason");
  own.socket.disconnected(4408, "its client says so");
  expect(sockets.slowReadersClosed).toBe(3);
  sockets.stop();
});

test("a host that stops closes all, those that are not connected yet too, and keeps none", () => {
  const { sockets, add } = edge();
  const [open, pending] = [add(), add()];
  open.socket.connected(open.connection);
  sockets.closeAll(1012, "going");
  expect(open.owner.events).toEqual(["opened", [1012, "going"]]);
  sockets.stop();
  expect(pending.owner.events).toEqual([[1006, ""]]);
  expect(sockets.size).toBe(0);
});

test("sockets that wait for their upgrade count towards the host's limit", () => {
  const { sockets, add } = edge({ socketsMax: 2 });
  add();
  expect(sockets.isFull).toBe(false);
  const { socket } = add();
  expect(sockets.isFull).toBe(true);
  socket.disconnected(1006, "");
  expect(sockets.isFull).toBe(false);
});
