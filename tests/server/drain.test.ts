import { describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { Drain, drainMovesMax, lameDuck } from "../../apps/server/drain.ts";
import { decodePackage, encodePackage } from "../../infra/host/move-package.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { fetchFrom } from "../host/object-host.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { hostRecord, MovingHost } from "./draining-host.ts";

const counter = object("counter", { state: () => ({ n: 0 }) })
  .post("/", ({ state }) => ++state.n)
  .get("/open", () => new Promise<string>(() => undefined));
const saved = object("saved", { state: () => ({ n: 0 }), durability: "storage" }).get("/", () => "here");
const other = object("other").get("/", () => "here");

function stage() {
  const moving = new MovingHost(counter, saved, other);
  const { clock, log, table } = moving.host;
  const drain = new Drain({ table, moves: moving.moves, clock, log });
  const report = () => {
    drain.report();
    return log.entries.findLast(({ event }) => event === "host.drained")?.fields;
  };
  /** Moves all, on a clock that stands still. */
  const moveAll = async (deadlineMs = clock.monotonicMs() + 10_000) => {
    const moved = drain.moveAll(deadlineMs);
    await clock.advance(1);
    await moved;
  };
  return { ...moving, moving, host: moving.host, clock, log, table, drain, report, moveAll };
}

describe("L11 a host that drains", () => {
  test("moves all that live here, and knows where they are", async () => {
    const { moving, host, moveAll, report, table, routes } = stage();
    moving.others = [hostRecord("a"), hostRecord("b")];
    for (let n = 0; n < 40; n++) await host.live("counter", `c${n}`);
    await moveAll();
    expect(table.size).toBe(0);
    expect(new Set(moving.takers)).toEqual(new Set(["a", "b"]));
    expect(routes.size).toBe(40);
    expect(report()).toMatchObject({ moved: 40, saved: 0, lostMemory: 0, failed: 0 });
  });

  test("begins with those that have something to do", async () => {
    const { moving, host, moveAll } = stage();
    moving.others = [hostRecord("a")];
    for (let n = 0; n < 4; n++) await host.live("counter", `c${n}`);
    void fetchFrom(await host.live("counter", "busy"), "/open");
    const moved = moveAll();
    await Promise.resolve();
    expect(moving.asked[0]).toBe("counter/busy → a");
    await host.clock.advance(10_000);
    await moved;
  });

  test("no more at once than so many", async () => {
    const { moving, host, drain, clock } = stage();
    moving.others = [hostRecord("a")];
    for (let n = 0; n < drainMovesMax + 50; n++) await host.live("counter", `c${n}`);
    const held = Promise.withResolvers<void>();
    host.leases.moveHeld = held.promise;
    const moved = drain.moveAll(10_000);
    await clock.advance(1);
    expect(host.leases.moves).toHaveLength(drainMovesMax);
    held.resolve();
    await clock.advance(1);
    await moved;
    expect(host.leases.moves).toHaveLength(drainMovesMax + 50);
  });

  test("spreads over hosts as they have room, with what is on its way counted", async () => {
    const { moving, host, moveAll } = stage();
    const small = { objects: 0, objectsMax: 10, memoryUsedBytes: 0, memoryLimitBytes: 1000 };
    moving.others = [hostRecord("small", "ams", { load: small }), hostRecord("large")];
    for (let n = 0; n < 100; n++) await host.live("counter", `c${n}`);
    await moveAll();
    expect(moving.takers.filter((hostId) => hostId === "small").length).toBeLessThanOrEqual(10);
    expect(moving.takers).toHaveLength(100);
  });

  test("a host that refuses is not asked again, by class, and another takes the object", async () => {
    const { moving, host, moveAll, report } = stage();
    moving.others = [hostRecord("near"), hostRecord("far", "nrt")];
    moving.refuses = (hostId, { ref }) =>
      hostId === "near" && ref.className === "counter"
        ? new StatefulError("unknown_class", "It does not have that.")
        : undefined;
    for (let n = 0; n < drainMovesMax + 20; n++) await host.live("counter", `c${n}`);
    await host.live("other", "o");
    await moveAll();
    expect(report()).toMatchObject({ moved: drainMovesMax + 21 });
    const inVain = moving.asked.filter((asked) => /counter.*near/.test(asked));
    expect(inVain.length).toBeLessThanOrEqual(drainMovesMax);
    expect(moving.taken.find(({ offer }) => offer.ref.className === "other")?.hostId).toBe("near");
  });

  test("whatever goes wrong with the first target, another is tried", async () => {
    const { moving, host, moveAll, report } = stage();
    moving.others = [hostRecord("near"), hostRecord("far", "nrt")];
    moving.refuses = (hostId) =>
      hostId === "near" ? new StatefulError("move_failed", "It lives there already.") : undefined;
    await host.live("counter", "c");
    await moveAll();
    expect(moving.takers).toEqual(["far"]);
    expect(report()).toMatchObject({ moved: 1 });
  });

  test("what cannot move is stopped and saved, and the report says what is lost", async () => {
    const { host, moveAll, drain, report, table, log } = stage();
    await host.live("counter", "c");
    await host.live("saved", "s");
    await moveAll();
    await drain.stopRest(0);
    expect(table.size).toBe(0);
    expect(report()).toMatchObject({ moved: 0, saved: 1, lostMemory: 1, failed: 0 });
    expect(log.errors).toEqual([]);
  });

  test("and what was left to the next session, which did not come in time", async () => {
    const { host, moveAll, drain, clock, report, table } = stage();
    await host.live("saved", "s");
    host.leases.session.end();
    table.suspendAll();
    await moveAll(clock.monotonicMs());
    const rest = drain.stopRest(0);
    await clock.advance(1);
    await rest;
    expect(report()).toMatchObject({ moved: 0, saved: 0, lostMemory: 0, failed: 1 });
  });

  test("waits for what is on its way here, and moves it on", async () => {
    const { moving, drain, clock, table, host, report } = stage();
    moving.others = [hostRecord("a")];
    const ref = objectRef("counter", "late");
    const offer = { ref, epoch: 1, toSession: host.leases.session.id, dataVersion: 1, codeVersion: "test" };
    const arrival = table.arrivals.offered({ ...offer, edges: [] });
    const moved = drain.moveAll(clock.monotonicMs() + 10_000);
    await clock.advance(100);
    const moment = { sinceMs: clock.wallMs(), nextAlarmMs: undefined };
    arrival.deliver(
      encodePackage({
        ...{ version: 1, state: { n: 7 }, carried: undefined, stored: undefined, edges: [] },
        ...moment,
      }),
    );
    arrival.go(2);
    await clock.advance(100);
    await moved;
    expect(moving.taken.map(({ offer: { ref: taken } }) => taken.key)).toEqual([ref.key]);
    expect(decodePackage(moving.taken[0]?.bytes ?? new Uint8Array()).state).toEqual({ n: 7 });
    expect(report()).toMatchObject({ moved: 1, lostMemory: 0 });
  });

  test("is over when its time is, whatever is still on its way", async () => {
    const { moving, host, drain, clock } = stage();
    moving.others = [hostRecord("a")];
    await host.live("counter", "c");
    host.leases.moveHeld = new Promise(() => undefined);
    let isOver = false;
    void drain.moveAll(clock.monotonicMs() + 500).then(() => {
      isOver = true;
    });
    await clock.advance(499);
    expect(isOver).toBe(false);
    await clock.advance(2);
    expect(isOver).toBe(true);
  });
});

describe("L11 a lame duck", () => {
  function duck(limitMs: number) {
    const clock = new VirtualClock();
    const requests = { open: 0, taken: 0 };
    let endedAtMs: number | undefined;
    void lameDuck({ clock, limitMs, requests: () => requests }).then(() => {
      endedAtMs = clock.monotonicMs();
    });
    return { clock, requests, endedAtMs: () => endedAtMs };
  }

  test("ends early where nobody asks", async () => {
    const { clock, endedAtMs } = duck(1000);
    await clock.advance(1000);
    expect(endedAtMs()).toBe(100);
  });

  test("goes on while requests are open, or come and go", async () => {
    const { clock, requests, endedAtMs } = duck(10_000);
    requests.open = 1;
    await clock.advance(300);
    requests.open = 0;
    for (let n = 0; n < 5; n++) {
      requests.taken++;
      await clock.advance(80);
    }
    expect(endedAtMs()).toBeUndefined();
    await clock.advance(200);
    expect(endedAtMs()).toBeLessThan(900);
  });

  test("and no longer than it may", async () => {
    const { clock, requests, endedAtMs } = duck(1000);
    requests.open = 1;
    await clock.advance(2000);
    expect(endedAtMs()).toBe(1000);
  });
});
