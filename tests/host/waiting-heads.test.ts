import { expect, test } from "bun:test";
import { upgradeHeadBytesMax } from "../../infra/edge/upgrade-head.ts";
import type { SocketRecord, UpgradeHead } from "../../infra/host/edge-port.ts";
import {
  headBytesOf,
  WaitingHeads,
  waitingHeadsBytesMax,
  waitingHeadsMax,
} from "../../infra/host/waiting-heads.ts";
import { object } from "../../infra/object/object.ts";
import { connectTo, FakeCarrier, FakeEdge, ObjectHost } from "./object-host.ts";

function headOf(bytes: number): UpgradeHead {
  const [url, target] = ["http://x/room/a/live", "/room/a/live"];
  const name = "cookie";
  const value = "c".repeat(bytes - url.length - target.length - name.length);
  return { kind: "websocket", url, target, headers: [[name, value]] };
}

function recordOf(number: number): SocketRecord {
  const nothing = { subscriptions: [], presence: [], tags: [], attachment: undefined, handled: 0 };
  return { number, id: `s${number}`, remoteAddress: "::1", kind: "websocket", phase: "opened", ...nothing };
}

const longest = headOf(upgradeHeadBytesMax);
/** As many of the longest as may wait. */
const fitting = waitingHeadsBytesMax / upgradeHeadBytesMax;

test("what a head takes is its URL, its target and its headers", () => {
  expect(headBytesOf(longest)).toBe(upgradeHeadBytesMax);
});

test("H5 heads that wait are bounded in number and in bytes, and what is taken makes room", () => {
  const few = new WaitingHeads();
  for (let number = 1; number <= fitting; number++) expect(few.put(number, longest)).toBe(true);
  expect(few.put(fitting + 1, headOf(100))).toBe(false);
  expect(few.put(1, longest)).toBe(true); // in the place of its own
  expect([few.take(1), few.take(1)]).toEqual([longest, undefined]);
  expect(few.put(fitting + 1, longest)).toBe(true);
  few.clear();
  const short = headOf(100);
  for (let number = 1; number <= waitingHeadsMax; number++) few.put(number, short);
  expect(few.put(waitingHeadsMax + 1, short)).toBe(false);
});

/** A room with as many sockets as asked for, of which it has said that it sleeps. */
async function asleep(sockets: number) {
  const room = object("room", { idleAfterMs: 1000 }).ws("/live", {
    message: (ws, text) => void ws.send(text),
  });
  const host = new ObjectHost(room);
  const edge = new FakeEdge();
  await connectTo(await host.live("room"), new FakeCarrier(edge));
  await host.clock.advance(5000);
  edge.records = Array.from({ length: sockets }, (_, index) => recordOf(index + 1));
  return { host, edge };
}

function closedAt(edge: FakeEdge): [number, number | undefined][] {
  return [...edge.carriers].flatMap(([number, { closed }]) => (closed ? [[number, closed.code]] : []));
}

test("H5 heads for an object that wakes: the socket of the first that is too much is closed, the others are heard", async () => {
  const { host, edge } = await asleep(fitting + 1);
  for (let number = 1; number <= fitting + 1; number++) {
    edge.events?.head(number, longest);
    if (number > 1) edge.events?.message(number, "hello");
  }
  expect(closedAt(edge)).toEqual([[fitting + 1, 1013]]);
  await host.clock.advance(100);
  expect(edge.carrier(fitting).sent).toEqual(["hello"]);
  // Those that were used make room; that of the first socket, which has said nothing, is kept until it does.
  for (let number = 2; number <= fitting; number++) edge.events?.head(number, longest);
  edge.events?.message(1, "at last");
  await host.clock.advance(100);
  expect(edge.carrier(1).sent).toEqual(["at last"]);
  expect(closedAt(edge)).toEqual([[fitting + 1, 1013]]);
});

test("H5 heads of sockets that the object has count as well, while their events may not enter", async () => {
  const { host, edge } = await asleep(fitting + 1);
  const activation = await host.live("room");
  activation.edges.shut(false);
  for (let number = 1; number <= fitting + 1; number++) edge.events?.head(number, longest);
  expect(closedAt(edge)).toEqual([[fitting + 1, 1013]]);
  edge.events?.message(1, "hello");
  activation.edges.open();
  await host.clock.advance(100);
  expect(edge.carrier(1).sent).toEqual(["hello"]);
});
