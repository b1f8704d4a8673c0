import { describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { configDefaults } from "../../apps/server/config.ts";
import { Mover } from "../../apps/server/mover.ts";
import { ObjectTraffic } from "../../apps/server/object-traffic.ts";
import type { Activation } from "../../infra/host/activation.ts";
import { decodePackage } from "../../infra/host/move-package.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { followLimits } from "../../infra/placement/follow.ts";
import { followMovesPerMinute } from "../../infra/placement/move-budget.ts";
import { trafficHalfLifeMs } from "../../infra/placement/traffic.ts";
import { fetchFrom } from "../host/object-host.ts";
import { hostRecord, MovingHost } from "./draining-host.ts";

const hour = 3_600_000;
const counter = object("counter", { state: () => ({ n: 0 }), idleAfterMs: hour }).get(
  "/",
  ({ state }) => ++state.n,
);

function stage() {
  const moving = new MovingHost(counter);
  const { moves, traffic, host } = moving;
  const { clock, log, table, leases } = host;
  moving.others = [hostRecord("tokyo", "nrt")];
  moving.roundTripsMs.set("tokyo", 220);
  let isDraining = false;
  const mover = new Mover({
    ...{ self: { hostId: "self", region: "ams" }, table, moves, traffic, clock, log },
    settings: configDefaults.follow,
    session: () => leases.session.id,
    isDraining: () => isDraining,
    refreshHosts: async () => undefined,
  });
  const drain = () => {
    isDraining = true;
  };
  const look = async () => {
    const looked = mover.follow();
    await clock.advance(1);
    await looked;
    await clock.advance(1);
  };
  return { moving, moves, traffic, host, clock, log, table, mover, look, drain };
}

async function events(activation: Activation, count: number, region = "ams"): Promise<void> {
  for (let n = 0; n < count; n++) {
    activation.cameFrom(region);
    await fetchFrom(activation);
  }
}

describe("P12 traffic by region", () => {
  test("is counted by where the events came in, and ages", async () => {
    const { host, traffic, clock } = stage();
    const activation = await host.live("counter");
    await events(activation, 30);
    await events(activation, 10, "nrt");
    expect(traffic.sample(activation)).toEqual({
      events: 40,
      shares: [
        { region: "ams", share: 0.75 },
        { region: "nrt", share: 0.25 },
      ],
    });
    await clock.advance(trafficHalfLifeMs);
    expect(traffic.sample(activation).events).toBeCloseTo(20);
  });

  test("of an object that hears from its own region only ages without anything being kept of it", async () => {
    const { host, traffic, clock } = stage();
    const activation = await host.live("counter");
    await events(activation, 400);
    for (let n = 0; n < 20; n++) {
      await clock.advance(trafficHalfLifeMs / 20);
      expect(traffic.look(activation, traffic.round())).toBe(0);
    }
    expect(activation.eventsTaken).toBeCloseTo(200);
    await events(activation, 201, "nrt");
    expect(traffic.look(activation, traffic.round())).toBeGreaterThan(380);
    const [nrt] = traffic.sample(activation).shares;
    expect(nrt?.region).toBe("nrt");
  });

  test("of an object that is asked seldom is not lost between two looks", async () => {
    const { host, traffic, clock, look } = stage();
    const activation = await host.live("counter");
    const { intervalMs } = configDefaults.follow;
    for (let n = 0; n < 100; n++) {
      await events(activation, 1);
      await clock.advance(intervalMs - 2);
      await look();
    }
    const aged = 2 ** (-intervalMs / trafficHalfLifeMs);
    const before = ((1 - aged ** 100) * aged) / (1 - aged);
    await events(activation, 20, "nrt");
    expect(traffic.sample(activation).events).toBeCloseTo(before + 20, 1);
  });

  test("is forgotten in the end", async () => {
    const { host, traffic } = stage();
    const activation = await host.live("counter");
    await events(activation, 1);
    traffic.look(activation, 2 ** -9);
    expect(activation.eventsTaken).toBe(2 ** -9);
    traffic.look(activation, 2 ** -2);
    expect(activation.eventsTaken).toBe(0);
  });

  test("comes along with a move, whatever else a note may hold", async () => {
    const { host, clock } = stage();
    const notes = [
      { events: 10, shares: [{ region: "nrt", share: 1 }] },
      ...[undefined, null, 7, "x", {}, { events: -1, shares: [] }, { events: 1, shares: [{ region: 1 }] }],
    ];
    for (const [index, note] of notes.entries()) {
      const activation = await host.live("counter", `n${index}`);
      activation.arrivedWith = { reason: "follow", traffic: note, followed: note };
      const { events: counted } = new ObjectTraffic("ams", clock).sample(activation);
      expect(counted).toBe(index === 0 ? 10 : 0);
    }
  });
});

describe("P13 objects follow their users", () => {
  test("once they are old enough, with what they moved for", async () => {
    const { moving, host, clock, look, log } = stage();
    const activation = await host.live("counter");
    await events(activation, 100, "nrt");
    await look();
    expect(moving.taken).toEqual([]);
    await clock.advance(followLimits.activeMinMs);
    await events(activation, 100, "nrt");
    await look();
    expect(moving.takers).toEqual(["tokyo"]);
    const note = decodePackage(moving.taken[0]?.bytes ?? new Uint8Array()).note;
    expect(note).toMatchObject({
      reason: "follow",
      traffic: { shares: [{ region: "nrt", share: 1 }] },
      followed: { shares: [{ region: "nrt", share: 1 }], regions: ["ams", "nrt"] },
    });
    const said = log.entries.find(({ event }) => event === "object.follows")?.fields;
    expect(said).toMatchObject({ object: "counter/a", hostId: "tokyo", region: "nrt" });
    expect(String(said?.why)).toStartWith("moves: 100 % of its events come from nrt");
  });

  test("P15 no more in a minute than the budget, and none from a host that drains", async () => {
    const { moving, host, clock, look, drain } = stage();
    const all = await Promise.all(Array.from({ length: 50 }, (_, n) => host.live("counter", `c${n}`)));
    await clock.advance(followLimits.activeMinMs);
    for (const activation of all) await events(activation, 30, "nrt");
    for (let n = 0; n < 6; n++) {
      for (const activation of all) if (activation.isLive) await events(activation, 1, "nrt");
      await look();
      await clock.advance(10_000 - 2);
    }
    expect(moving.taken.length).toBeGreaterThan(followMovesPerMinute / 2);
    expect(moving.taken.length).toBeLessThanOrEqual(followMovesPerMinute);
    drain();
    const before = moving.taken.length;
    for (const activation of all) if (activation.isLive) await events(activation, 1, "nrt");
    await look();
    expect(moving.taken.length).toBe(before);
  });

  test("by itself, again and again, until it is stopped", async () => {
    const { moving, host, clock, mover } = stage();
    const activation = await host.live("counter");
    await clock.advance(followLimits.activeMinMs);
    await events(activation, 100, "nrt");
    mover.start();
    await clock.advance(configDefaults.follow.intervalMs + 1);
    expect(moving.takers).toEqual(["tokyo"]);
    mover.stop();
    const timers = clock.timersLeft;
    mover.start();
    expect(clock.timersLeft).toBe(timers);
  });
});

describe("P10 moves that are asked for", () => {
  test("for lack of memory: false where nobody takes it", async () => {
    const { moving, host, mover } = stage();
    const activation = await host.live("counter");
    moving.refuses = () => new StatefulError("host_full", "no", { details: { reason: "memory_limit" } });
    expect(await mover.moveOff(activation)).toBe(false);
    expect(activation.isLive).toBe(true);
    moving.refuses = () => undefined;
    expect(await mover.moveOff(activation)).toBe(true);
    expect(activation.isOver).toBe(true);
  });

  test("by hand: to where it is already nothing is asked of anybody", async () => {
    const { moving, host, mover } = stage();
    const activation = await host.live("counter");
    const answer = await mover.move(activation, { region: "ams" });
    expect(answer).toMatchObject({ from: { hostId: "self" }, to: { hostId: "self" }, pauseMs: 0 });
    expect(moving.asked).toEqual([]);
    const moved = await mover.move(activation, { hostId: "tokyo" });
    expect(moved).toMatchObject({ to: { hostId: "tokyo", region: "nrt" }, session: "tokyo.1" });
  });
});
