import { expect, test } from "bun:test";
import type { ReconnectingSocket, SocketOptions } from "../../apps/client/reconnecting-socket.ts";
import { amsUrl, iadUrl, Rig } from "./rig.ts";

const iadHost = new URL(iadUrl).host;

/** The hosts of these tests greet nobody, and read what they are sent as text. */
function rigWithSocket(options: SocketOptions = {}, urls: string | string[] = [iadUrl, amsUrl]) {
  const rig = new Rig({ maxEnqueuedMessages: 2 }, urls);
  for (const host of [rig.iad, rig.ams]) host.isRaw = true;
  const socket = rig.client.object("room", "lobby").socket("/live", options);
  return { rig, socket, events: noted(socket) };
}

function noted(socket: ReconnectingSocket): unknown[] {
  const events: unknown[] = [];
  socket.addEventListener("open", () => events.push("open"));
  socket.addEventListener("message", ({ data }) => events.push(data));
  socket.addEventListener("close", ({ code, willReconnect }) =>
    events.push(`close ${code} ${willReconnect}`),
  );
  return events;
}

test("C17 a socket to a path of the object is used like a WebSocket", async () => {
  const { rig, socket, events } = rigWithSocket();
  const handled: string[] = [];
  socket.onopen = () => handled.push("open");
  socket.onmessage = ({ data }) => handled.push(data);
  socket.onclose = ({ code }) => handled.push(String(code));
  expect(socket.readyState).toBe(0);
  await rig.settle();
  expect(socket.url).toBe("wss://iad.test/room/lobby/live");
  expect(socket.readyState).toBe(1);
  socket.send("hello");
  await rig.settle();
  expect(rig.iad.raw).toEqual(["hello"]);
  for (const connection of rig.iad.connections) connection.say("hi");
  await rig.settle();
  expect(() => socket.close(1001)).toThrow();
  expect(socket.readyState).toBe(1);
  socket.close(4000, "enough");
  expect(socket.readyState).toBe(3);
  expect(() => socket.send("more")).toThrow("This socket is closed");
  await rig.settle();
  expect(events).toEqual(["open", "hi", "close 4000 false"]);
  expect(handled).toEqual(["open", "hi", "4000"]);
  await rig.close();
});

test("C17 it comes back by the rules of all connections, with a query asked for anew", async () => {
  let count = 0;
  const { rig, socket, events } = rigWithSocket({
    params: async () => ({ token: ++count, none: undefined, a: "&" }),
  });
  await rig.settle();
  rig.network.down.add(iadHost);
  rig.iad.drop(1006);
  await rig.settle();
  expect(socket.readyState).toBe(0);
  await rig.pass(5_000);
  expect(socket.readyState).toBe(1);
  expect(socket.url).toStartWith("wss://ams.test/room/lobby/live?token=");
  expect(socket.url).toEndWith("&a=%26");
  expect(count).toBeGreaterThanOrEqual(2);
  expect(events[0]).toBe("open");
  expect(events.slice(1, -1).every((event) => event === "close 1006 true")).toBe(true);
  expect(events.at(-1)).toBe("open");
  await rig.close();
});

test("C10 C17 what is sent meanwhile waits, up to maxEnqueuedMessages, and is sent in order", async () => {
  const { rig, socket } = rigWithSocket();
  socket.send("one");
  socket.send("two");
  expect(socket.bufferedAmount).toBe(6);
  expect(() => socket.send("three")).toThrow("2 messages wait already");
  await rig.settle();
  socket.send("four");
  await rig.settle();
  expect(rig.iad.raw).toEqual(["one", "two", "four"]);
  expect(socket.bufferedAmount).toBe(0);
  await rig.close();
});

test("C17 what waited to be sent is dropped with the socket", async () => {
  const { rig, socket } = rigWithSocket();
  socket.send("never");
  socket.close();
  socket.reconnect();
  socket.send("now");
  await rig.settle();
  expect(rig.iad.raw).toEqual(["now"]);
  await rig.close();
});

test("C6 C17 a code of the class's own ends it, unless its author says otherwise", async () => {
  const { rig, events } = rigWithSocket();
  await rig.settle();
  rig.iad.drop(4001);
  await rig.pass(5_000);
  expect(events).toEqual(["open", "close 4001 false"]);
  const socket = rig.client.object("room", "lobby").socket("/live", {
    shouldReconnectOnClose: ({ code }) => code === 4001,
  });
  const second = noted(socket);
  await rig.settle();
  rig.iad.drop(4001);
  await rig.pass(8_000);
  rig.iad.drop(1012);
  await rig.settle();
  expect(second).toEqual(["open", "close 4001 true", "open", "close 1012 false"]);
  socket.reconnect();
  await rig.settle();
  expect(socket.readyState).toBe(1);
  await rig.close();
});

test("C9 C17 with a heartbeat it notices silence, and keeps the answers to itself", async () => {
  const heartbeat = { request: "ping", response: "pong" };
  const { rig, events } = rigWithSocket({ heartbeat });
  rig.iad.answersRaw = (text) => (text === "ping" ? "pong" : undefined);
  await rig.pass(60_000, 1_000);
  expect(events).toEqual(["open"]);
  expect(rig.iad.raw.length).toBeGreaterThanOrEqual(3);
  rig.network.cut();
  await rig.pass(30_000, 1_000);
  expect(events).toEqual(["open", "close 1006 true", "open"]);
  await rig.close();
});

test("C15 C17 a signal, or the end of the client, closes it; startClosed waits for reconnect()", async () => {
  const controller = new AbortController();
  const { rig, events } = rigWithSocket({ signal: controller.signal });
  const held = rig.client.object("room", "held").socket("/live", { startClosed: true });
  const heldEvents = noted(held);
  await rig.settle();
  expect(held.readyState).toBe(3);
  controller.abort();
  held.reconnect();
  await rig.settle();
  expect(heldEvents).toEqual(["open"]);
  expect(events).toEqual(["open", "close 1000 false"]);
  await rig.close();
  expect(heldEvents).toEqual(["open", "close 1000 false"]);
  expect(() => rig.client.object("room", "late").socket("/live")).toThrow("closed");
});
