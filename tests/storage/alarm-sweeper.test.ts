import { afterEach, expect, test } from "bun:test";
import type { ObjectName } from "../../infra/lease/stored-objects.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type Log, silentLog } from "../../infra/lib/log.ts";
import {
  AlarmSweeper,
  ownerGraceMs,
  sweepLimit,
  wakeLimitMs,
  wakesAtOnceMax,
} from "../../infra/storage/alarm-sweeper.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const never = new Promise<never>(() => undefined);

/** A directory with overdue objects, and hosts that wake them. What is woken has fired, unless a test says otherwise. */
class Scene {
  readonly clock = new VirtualClock();
  /** Ids, the most overdue first. */
  due: string[] = [];
  readonly asked: Array<readonly [limit: number, graceMs: number]> = [];
  readonly woken: Array<readonly [id: string, atMs: number]> = [];
  readonly warnings: Array<readonly [event: string, object: unknown]> = [];
  /** From 0 to less than 1; in the middle there is no jitter of the interval. */
  random = () => 0.5;
  query = async () => this.due;
  wake = async (id: string) => {
    this.due = this.due.filter((other) => other !== id);
  };
  readonly sweeper: AlarmSweeper;

  constructor() {
    const log: Log = {
      ...silentLog,
      warn: (event, fields) => this.warnings.push([event, fields?.object]),
    };
    this.sweeper = new AlarmSweeper({
      classes: () => ["box"],
      storedObjects: { dueAlarms: (limit, graceMs) => this.#answer(limit, graceMs) },
      wake: ({ id }) => {
        this.woken.push([id, this.clock.monotonicMs()]);
        return this.wake(id);
      },
      clock: this.clock,
      random: () => this.random(),
      log,
    });
    scenes.push(this);
  }

  async start(): Promise<void> {
    this.sweeper.start();
    await this.clock.advance(0);
  }

  ids(): string[] {
    return this.woken.map(([id]) => id);
  }

  async #answer(limit: number, graceMs: number): Promise<ObjectName[]> {
    this.asked.push([limit, graceMs]);
    const due = await this.query();
    return due.slice(0, limit).map((id) => ({ className: "room", id }));
  }
}

const scenes: Scene[] = [];

afterEach(async () => {
  for (const { sweeper, clock } of scenes.splice(0)) {
    await sweeper.stop();
    await clock.advance(0);
    expect(clock.timersLeft).toBe(0);
  }
});

function names(count: number, prefix = "o"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

test("A5 a sweep finds every overdue alarm and only wakes", async () => {
  const scene = new Scene();
  const all = names(1_200);
  scene.due = [...all];
  await scene.start();
  await scene.clock.advance(3_000);
  expect(scene.ids().toSorted()).toEqual(all.toSorted());
  expect(scene.asked[0]).toEqual([sweepLimit, ownerGraceMs]);
});

test("A5 objects that nobody can wake do not hide those behind them", async () => {
  const scene = new Scene();
  scene.due = [...names(1_300, "stuck"), "fresh"];
  scene.wake = async (id) => {
    if (id.startsWith("stuck")) throw new Error("no host has this class");
    scene.due = scene.due.filter((other) => other !== id);
  };
  await scene.start();
  await scene.clock.advance(3_000);
  expect(scene.ids()).toContain("fresh");
  scene.due = [];
  await scene.clock.advance(2_000);
  expect(scene.asked.map(([limit]) => limit)).toEqual([1, 1, 2, 4, 8, 1].map((times) => times * sweepLimit));
});

test("A5 an object that is still overdue is woken again by the next sweep", async () => {
  const scene = new Scene();
  scene.due = ["one"];
  scene.wake = async () => undefined;
  await scene.start();
  await scene.clock.advance(2_000);
  expect(scene.woken).toEqual([0, 1_000, 2_000].map((atMs) => ["one", atMs] as const));
});

test("passes come every second, give or take a fifth", async () => {
  const scene = new Scene();
  scene.random = () => 0;
  await scene.start();
  await scene.clock.advance(1_600);
  expect(scene.asked).toHaveLength(3);
  scene.random = () => 0.999_999;
  await scene.clock.advance(800);
  await scene.clock.advance(1_199);
  expect(scene.asked).toHaveLength(4);
  await scene.clock.advance(1);
  expect(scene.asked).toHaveLength(5);
});

test("two hosts begin with different objects", async () => {
  const orders = [0.1, 0.9].map(async (random) => {
    const scene = new Scene();
    scene.random = () => random;
    scene.due = names(20);
    await scene.start();
    return scene.ids();
  });
  const [first, second] = await Promise.all(orders);
  expect(first).not.toEqual(second);
  expect(first?.toSorted()).toEqual(second?.toSorted());
});

test("so many wakes at once and no more; the next begins when one ends", async () => {
  const scene = new Scene();
  scene.due = names(wakesAtOnceMax + 10);
  const ends: Array<() => void> = [];
  scene.wake = () => new Promise((resolve) => ends.push(resolve));
  await scene.start();
  await scene.clock.advance(3_000);
  expect(scene.woken).toHaveLength(wakesAtOnceMax);
  ends[0]?.();
  await scene.clock.advance(0);
  expect(scene.woken).toHaveLength(wakesAtOnceMax + 1);
});

test("a wake that hangs holds up nobody else, and is given up after its time", async () => {
  const scene = new Scene();
  scene.due = ["hangs"];
  scene.wake = () => never;
  await scene.start();
  scene.due = ["hangs", "other"];
  await scene.clock.advance(1_000);
  expect(scene.ids()).toEqual(["hangs", "other"]);
  await scene.clock.advance(wakeLimitMs - 1_000);
  expect(scene.warnings).toEqual([["alarm.wake_failed", "room/hangs"]]);
  await scene.clock.advance(3_000);
  expect(scene.ids().filter((id) => id === "hangs")).toHaveLength(2);
});

test("an object that fails is tried again with a back-off of up to 30 s, and logged once a minute", async () => {
  const scene = new Scene();
  scene.random = () => 0.999_999;
  scene.due = ["one"];
  scene.wake = () => Promise.reject(new Error("no eligible host"));
  await scene.start();
  await scene.clock.advance(59_000);
  expect(scene.warnings).toEqual([["alarm.wake_failed", "room/one"]]);
  const gaps = scene.woken.slice(1).map(([, atMs], index) => atMs - (scene.woken[index]?.[1] ?? 0));
  expect(gaps.map((gap) => Math.round(gap / 1_200))).toEqual([1, 2, 4, 7, 14]);
  await scene.clock.advance(120_000);
  const lastGap = (scene.woken.at(-1)?.[1] ?? 0) - (scene.woken.at(-2)?.[1] ?? 0);
  expect(lastGap).toBeGreaterThanOrEqual(30_000);
  expect(lastGap).toBeLessThan(31_300);
  expect(scene.warnings).toHaveLength(3);
});

test.each([
  "no_eligible_host",
  "session_over",
  "directory_recovering",
  "directory_unavailable",
  "host_full",
] as const)("A5 what heals by itself (%s) is tried again every second", async (code) => {
  const scene = new Scene();
  scene.due = ["one"];
  scene.wake = () => Promise.reject(new StatefulError(code, "for now"));
  await scene.start();
  await scene.clock.advance(30_000);
  expect(scene.woken.length).toBeGreaterThanOrEqual(15);
});

test("after a success the back-off begins anew", async () => {
  const scene = new Scene();
  scene.due = ["one"];
  let fails = true;
  scene.wake = async () => {
    if (fails) throw new Error("no eligible host");
  };
  await scene.start();
  await scene.clock.advance(5_000);
  fails = false;
  await scene.clock.advance(5_000);
  fails = true;
  const before = scene.woken.length;
  await scene.clock.advance(2_000);
  expect(scene.woken.length - before).toBe(2);
});

test("a query that fails or hangs is logged, and the next pass comes as usual", async () => {
  const scene = new Scene();
  scene.query = () => Promise.reject(new Error("the primary is away"));
  await scene.start();
  expect(scene.warnings).toEqual([["alarm.sweep_failed", undefined]]);
  scene.query = () => never;
  await scene.clock.advance(1_000 + 10_000);
  expect(scene.warnings).toHaveLength(2);
  scene.query = async () => scene.due;
  scene.due = ["one"];
  await scene.clock.advance(1_000);
  expect(scene.ids()).toEqual(["one"]);
});

test("nothing is asked or woken after a stop, whatever is under way", async () => {
  const scene = new Scene();
  scene.due = names(wakesAtOnceMax + 5);
  scene.wake = () => never;
  await scene.start();
  scene.query = () => never;
  await scene.clock.advance(1_000);
  await scene.sweeper.stop();
  scene.sweeper.start();
  await scene.clock.advance(60_000);
  expect(scene.asked).toHaveLength(2);
  expect(scene.woken).toHaveLength(wakesAtOnceMax);
  expect(scene.warnings).toEqual([]);
});
