import { describe, expect, test } from "bun:test";
import { encodePackage } from "../../infra/host/move-package.ts";
import { arrivalsFull } from "../../infra/host/move-ports.ts";
import { type ArrivedObject, arrivingBytesShare, MovesIn } from "../../infra/host/moves-in.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { object } from "../../infra/object/object.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { FakeLeases } from "./fake-lease.ts";
import { fetchFrom, LogBook, type ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

const bytesMax = 1000;
const full = { code: "move_failed", details: { reason: arrivalsFull } };
const asleep = { state: undefined, carried: undefined, stored: undefined, version: 1, edges: [] };
const small = encodePackage({ ...asleep, sinceMs: undefined, nextAlarmMs: undefined });

/** The arrivals of a host that has room for `bytesMax`. Their starts wait for `started`. */
function stage() {
  const clock = new VirtualClock();
  const leases = new FakeLeases();
  const started = Promise.withResolvers<void>();
  const starts: ArrivedObject[] = [];
  const arrivals = new MovesIn({
    ...{ leases, clock, log: new LogBook(), check: () => undefined },
    memoryLimitBytes: () => bytesMax / arrivingBytesShare,
    start: (arrived) => {
      starts.push(arrived);
      return started.promise;
    },
  });
  const offered = (id: string) =>
    arrivals.offered({
      ...{ ref: objectRef("room", id), epoch: 1, toSession: leases.session.id },
      ...{ dataVersion: 1, codeVersion: "test", edges: [] },
    });
  return { clock, leases, arrivals, offered, started, starts };
}

function refusal(work: () => void): unknown {
  try {
    work();
  } catch (thrown) {
    return thrown;
  }
  return "none";
}

describe("L7 H5 the bytes of all that is on its way to a host are bounded", () => {
  test("together, to the byte; what others have reserved stays theirs", () => {
    const { arrivals, offered } = stage();
    const [a, b] = [offered("a"), offered("b")];
    a.reserve(600);
    b.reserve(400);
    expect(arrivals.bytes).toBe(bytesMax);
    expect(refusal(() => b.reserve(401))).toMatchObject(full);
    expect(() => b.reserve(401)).toThrow(
      "room/b cannot move here now: its 401 bytes and the 600 of what else",
    );
    expect(arrivals.bytes).toBe(bytesMax);
  });

  test("one that is too much alone is not told to come again", () => {
    const { offered } = stage();
    const refused = refusal(() => offered("a").reserve(bytesMax + 1));
    expect(refused).toMatchObject({ code: "move_failed", retryAfterMs: undefined });
    expect(refused).not.toMatchObject(full);
  });

  test("fewer than before change nothing, and more count once", () => {
    const { arrivals, offered } = stage();
    const a = offered("a");
    for (const bytes of [10, 500, 20, 500, 900]) a.reserve(bytes);
    expect(arrivals.bytes).toBe(900);
  });

  test("a package that nobody has announced counts as well", () => {
    const { arrivals, offered } = stage();
    offered("a").reserve(bytesMax - small.length + 1);
    const b = offered("b");
    expect(refusal(() => b.deliver(small))).toMatchObject(full);
    expect(arrivals.bytes).toBe(bytesMax - small.length + 1);
  });

  test("are free again once it is called off, offered anew, given up or the host stops", async () => {
    const { arrivals, offered, clock } = stage();
    const ends: readonly ((id: string) => unknown)[] = [
      (id) => offered(id), // and the arrival before it is over
      () => clock.advance(90_000), // nobody says anything
      () => arrivals.close(),
    ];
    for (const [index, end] of ends.entries()) {
      const arrival = offered(`${index}`);
      arrival.reserve(bytesMax);
      await end(`${index}`);
      expect(arrivals.bytes).toBe(0);
      expect(() => arrival.reserve(1)).toThrow("The target has given the move up.");
    }
    for (const end of ["cancelled", "undecided"] as const) {
      const arrival = offered(end);
      arrival.reserve(bytesMax);
      arrival[end]();
      expect(arrivals.bytes).toBe(0);
    }
  });

  test("and count until the object has started, however that ends", async () => {
    for (const fails of [false, true]) {
      const { arrivals, offered, started, starts, clock } = stage();
      const a = offered("a");
      a.reserve(bytesMax);
      a.deliver(small);
      a.go(2);
      await clock.advance(1);
      expect([starts.length, arrivals.bytes]).toEqual([1, bytesMax]);
      if (fails) started.reject(new Error("not today"));
      else started.resolve();
      await clock.advance(1);
      expect([arrivals.size, arrivals.bytes]).toEqual([0, 0]);
    }
  });
});

const rooms = () => [
  object("room", { state: () => ({ count: 0, ballast: new Uint8Array(1000) }) })
    .get("/", ({ state }) => ({ count: state.count, ballast: state.ballast.length }))
    .post("/", ({ state }) => ({ count: ++state.count })),
];

async function ask(host: ObjectHost, id: string, options?: typeof post): Promise<unknown> {
  const response = fetchFrom(await host.live("room", id), "/", options);
  await host.clock.advance(10);
  return (await response).json();
}

async function settled(hosts: TwoHosts): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    await hosts.source.clock.advance(1);
    await hosts.target.clock.advance(1);
  }
}

test("L7 H5 a move for which the target has no room is called off: the object lives on whole, and moves once there is", async () => {
  const hosts = new TwoHosts(rooms);
  // For one of these packages and a half.
  hosts.target.load.memoryLimitBytes = (1.5 * 1200) / arrivingBytesShare;
  for (const id of ["a", "b"]) await ask(hosts.source, id, post);
  const gone = Promise.withResolvers<void>();
  hosts.before = (step) => (step === "go" ? gone.promise : undefined);
  await hosts.move("room", false, "a");
  await expect(hosts.move("room", false, "b")).rejects.toMatchObject(full);
  expect(hosts.steps.at(-1)).toBe("cancelled");
  expect(await ask(hosts.source, "b", post)).toEqual({ count: 2 });
  gone.resolve();
  await settled(hosts);
  await hosts.move("room", false, "b");
  await settled(hosts);
  expect(await ask(hosts.target, "a")).toEqual({ count: 1, ballast: 1000 });
  expect(await ask(hosts.target, "b")).toEqual({ count: 2, ballast: 1000 });
});
