import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkRoom } from "../../infra/host/host-limits.ts";
import { type GuardDecision, guardLimits, MemoryGuard } from "../../infra/host/memory-guard.ts";
import type { GuardedObject } from "../../infra/host/memory-survey.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { LogBook } from "./object-host.ts";

const mebibyte = 1024 * 1024;
const limitBytes = 1000 * mebibyte;
/** Above the high mark, between the marks, below the low one. */
const over = 900 * mebibyte;
const between = 800 * mebibyte;
const under = 600 * mebibyte;

interface FakeObject extends GuardedObject {
  idleForMs: number | undefined;
  mayMove: boolean;
}

interface ObjectOptions {
  readonly megabytes?: number;
  readonly idleForMs?: number;
  readonly mayMove?: boolean;
}

/** A host whose memory a test sets. What is let go leaves `objects`; what is used stays as the test says. */
class GuardedHost {
  readonly log = new LogBook();
  readonly clock = new VirtualClock();
  readonly slept: string[] = [];
  readonly moved: string[] = [];
  readonly objects = new Map<string, FakeObject>();
  usedBytes = under;
  loopDelayMs = 0;
  /** Whether others take what is to move. */
  takers = true;
  surveys = 0;
  readonly guard: MemoryGuard;

  constructor({ collectsGarbage = false } = {}) {
    this.guard = new MemoryGuard({
      reading: () => ({ usedBytes: this.usedBytes, limitBytes, loopDelayMs: this.loopDelayMs }),
      objects: () => {
        this.surveys += 1;
        return this.objects.values();
      },
      ...(collectsGarbage && { collectGarbage: () => undefined }),
      log: this.log,
    });
  }

  add(key: string, { megabytes = 10, idleForMs, mayMove = true }: ObjectOptions): void {
    const parts = { storageBytes: 0, socketBytes: 0, topicBytes: 0, pendingBytes: 0, hintBytes: 0 };
    const bytes = megabytes * mebibyte;
    this.objects.set(key, {
      key,
      idleForMs,
      mayMove,
      memory: () => ({ ...parts, stateBytes: bytes, totalBytes: bytes }),
      sleep: async () => {
        this.slept.push(key);
        this.objects.delete(key);
      },
      move: async () => {
        this.moved.push(key);
        if (this.takers) this.objects.delete(key);
        return this.takers;
      },
    });
  }

  addMany(count: number, options: ObjectOptions): void {
    for (let n = 0; n < count; n += 1) this.add(`${this.objects.size}-${n}`, options);
  }

  /** Looks after so much time, until a survey is through. */
  lookAfter(delayMs: number): GuardDecision {
    this.clock.freeze(delayMs);
    let decision = this.guard.look(this.clock.monotonicMs());
    while (decision.kind === "surveying") decision = this.guard.look(this.clock.monotonicMs());
    return decision;
  }

  look(): GuardDecision {
    return this.lookAfter(guardLimits.lookIntervalMs);
  }

  get events(): string[] {
    return this.log.entries.map(({ event }) => event);
  }
}

describe("H23: what the guard of a host's memory lets in", () => {
  test("refuses placements above the high mark, and until it is under the low one", () => {
    const host = new GuardedHost();
    const refuses = (usedBytes: number) => {
      host.usedBytes = usedBytes;
      host.look();
      return host.guard.pressure === "memory_limit";
    };
    expect(refuses(between)).toBe(false);
    expect(refuses(0.85 * limitBytes)).toBe(false);
    expect(refuses(over)).toBe(true);
    expect(refuses(between)).toBe(true);
    expect(refuses(0.7 * limitBytes)).toBe(true);
    expect(refuses(under)).toBe(false);
    expect(refuses(between)).toBe(false);
  });

  test("says so with figures, once for each time", () => {
    const host = new GuardedHost();
    for (const usedBytes of [over, over, under, under]) {
      host.usedBytes = usedBytes;
      host.look();
    }
    expect(host.log.entries.filter(({ event }) => event.endsWith("_mark"))).toEqual([
      {
        level: "warn",
        event: "memory.over_high_mark",
        fields: { usedBytes: over, limitBytes, highShare: 0.85 },
      },
      {
        level: "info",
        event: "memory.under_low_mark",
        fields: { usedBytes: under, limitBytes, lowShare: 0.7 },
      },
    ]);
  });

  test("is what a placement is refused with, beside the limits that hold without it", () => {
    const load = { objects: 1, objectsMax: 2, memoryUsedBytes: 1, memoryLimitBytes: 2 };
    const reasonOf = (...room: Parameters<typeof checkRoom>) => {
      try {
        checkRoom(...room);
        return undefined;
      } catch (thrown) {
        if (!(thrown instanceof StatefulError)) throw thrown;
        return { code: thrown.code, reason: thrown.details?.reason };
      }
    };
    expect(reasonOf(load)).toBeUndefined();
    expect(reasonOf(load, "memory_limit")).toEqual({ code: "host_full", reason: "memory_limit" });
    expect(reasonOf(load, "overloaded")).toEqual({ code: "host_full", reason: "overloaded" });
    expect(reasonOf({ ...load, objects: 2 }, "overloaded")?.reason).toBe("object_limit");
  });

  test("refuses with `overloaded` where the event loop has been late for long, until it is well again", () => {
    const host = new GuardedHost();
    const { loopDelayHighMs, loopDelayLowMs, overloadAfterMs, lookIntervalMs } = guardLimits;
    host.loopDelayMs = loopDelayHighMs + 1;
    for (let lateMs = 0; lateMs < overloadAfterMs; lateMs += lookIntervalMs) {
      host.look();
      expect(host.guard.pressure).toBeUndefined();
    }
    host.look();
    expect(host.guard.pressure).toBe("overloaded");
    host.loopDelayMs = loopDelayLowMs + 1;
    host.look();
    expect(host.guard.pressure).toBe("overloaded");
    host.loopDelayMs = loopDelayLowMs - 1;
    host.look();
    expect(host.guard.pressure).toBeUndefined();
    expect(host.events).toEqual(["host.overloaded", "host.no_longer_overloaded"]);
  });

  test("does not take a late moment for an overload", () => {
    const host = new GuardedHost();
    for (let look = 0; look < 20; look += 1) {
      host.loopDelayMs = look % 3 === 0 ? 5 : guardLimits.loopDelayHighMs + 1;
      host.look();
      expect(host.guard.pressure).toBeUndefined();
    }
  });
});

describe("H24: how the guard makes room", () => {
  test("does nothing below the high mark, and does not even look at the objects", () => {
    const host = new GuardedHost();
    host.addMany(10, { idleForMs: 10_000 });
    host.usedBytes = between;
    expect(host.look()).toEqual({ kind: "none" });
    expect(host.surveys).toBe(0);
  });

  test("stops the idle objects first, the longest idle before the others, no more of them than it needs", () => {
    const host = new GuardedHost();
    host.add("busy", { megabytes: 300 });
    host.add("idle-1", { megabytes: 100, idleForMs: 10_000 });
    host.add("idle-9", { megabytes: 100, idleForMs: 90_000 });
    host.add("idle-5", { megabytes: 100, idleForMs: 50_000 });
    host.add("just-now", { megabytes: 100, idleForMs: guardLimits.idleMsMin - 1 });
    host.usedBytes = over; // 200 MiB above the low mark
    expect(host.look()).toMatchObject({ kind: "slept", objects: 2 });
    expect(host.slept).toEqual(["idle-9", "idle-5"]);
    expect(host.moved).toEqual([]);
  });

  test("counts what was let go as gone: one look after the other does not empty the host", () => {
    const host = new GuardedHost();
    host.addMany(50, { megabytes: 10, idleForMs: 10_000 });
    host.usedBytes = over;
    host.look();
    const stopped = host.slept.length;
    expect(stopped).toBe(20);
    for (let waitedMs = 0; waitedMs < guardLimits.settleMs - guardLimits.lookIntervalMs; waitedMs += 5000)
      expect(host.look()).toEqual({ kind: "waiting" });
    expect(host.slept.length).toBe(stopped);
    host.usedBytes = between; // so much of it has shown
    expect(host.look()).toMatchObject({ kind: "slept", objects: 10 });
    host.usedBytes = under;
    expect(host.look()).toEqual({ kind: "none" });
    expect(host.objects.size).toBe(20);
  });

  test("stops many small ones in batches", () => {
    const host = new GuardedHost();
    host.addMany(2500, { megabytes: 0.15, idleForMs: 10_000 });
    host.usedBytes = over;
    for (const left of [2000, 1500]) {
      expect(host.look()).toMatchObject({ kind: "slept", objects: guardLimits.sleepsPerLook });
      expect(host.objects.size).toBe(left);
    }
  });

  test("does not stop one that was woken since it was surveyed", () => {
    const host = new GuardedHost();
    host.addMany(guardLimits.objectsPerStep, { megabytes: 1 });
    host.add("woken", { megabytes: 300, idleForMs: 90_000 });
    host.add("still-idle", { megabytes: 300, idleForMs: 10_000 });
    host.usedBytes = over;
    expect(host.guard.look(0)).toEqual({ kind: "surveying" });
    const woken = host.objects.get("woken");
    if (woken) woken.idleForMs = undefined;
    expect(host.guard.look(1)).toMatchObject({ kind: "slept", objects: 1 });
    expect(host.slept).toEqual(["still-idle"]);
  });

  test("moves the costliest where none is idle, no small ones, and none that may not move", () => {
    const host = new GuardedHost();
    host.add("small", { megabytes: 0.5 });
    host.add("large", { megabytes: 150 });
    host.add("pinned", { megabytes: 500, mayMove: false });
    host.add("larger", { megabytes: 160 });
    host.add("middle", { megabytes: 90 });
    host.usedBytes = over;
    expect(host.look()).toMatchObject({ kind: "moved", objects: 2 });
    expect(host.moved).toEqual(["larger", "large"]);
    const entry = host.log.entries.find(({ event }) => event === "memory.object_moves");
    expect(entry?.fields).toMatchObject({ object: "larger", totalBytes: 160 * mebibyte, usedBytes: over });
  });

  test("has a budget of moves for each minute", () => {
    const host = new GuardedHost();
    host.addMany(100, { megabytes: 5 });
    host.usedBytes = over;
    expect(host.look()).toMatchObject({ kind: "moved", objects: guardLimits.movesPerMinute });
    expect(host.look()).toEqual({ kind: "stuck", why: "move_budget" });
    expect(host.look()).toEqual({ kind: "waiting" });
    host.usedBytes = over - 50 * mebibyte;
    expect(host.lookAfter(60_000)).toMatchObject({ kind: "moved" });
    expect(host.moved.length).toBe(2 * guardLimits.movesPerMinute);
  });

  test("asks one that nobody takes no second time soon", () => {
    const host = new GuardedHost();
    host.takers = false;
    host.addMany(2, { megabytes: 300 });
    host.usedBytes = over;
    host.look();
    expect(host.moved).toEqual(["0-0"]);
    host.lookAfter(guardLimits.settleMs);
    expect(host.moved).toEqual(["0-0", "1-1"]);
    expect(host.lookAfter(guardLimits.noEffectPauseMs)).toMatchObject({ kind: "stuck" });
    expect(host.lookAfter(guardLimits.noEffectPauseMs)).toEqual({ kind: "stuck", why: "nothing_left" });
    expect(host.moved.length).toBe(2);
    expect(host.lookAfter(guardLimits.moveAgainMs)).toMatchObject({ kind: "moved" });
  });

  test("touches nobody where the objects hold too little for that to help, and says so once", () => {
    const host = new GuardedHost();
    host.addMany(100, { megabytes: 0.5, idleForMs: 60_000 });
    host.usedBytes = over;
    expect(host.look()).toEqual({ kind: "stuck", why: "not_objects" });
    for (let minute = 0; minute < 10; minute += 1) host.lookAfter(60_000);
    expect(host.guard.pressure).toBe("memory_limit");
    expect([...host.slept, ...host.moved]).toEqual([]);
    expect(host.surveys).toBeLessThan(12);
    const said = host.log.entries.filter(({ event }) => event === "memory.no_room_to_make");
    expect(said.map(({ fields }) => fields.why)).toEqual(["not_objects"]);
    expect(said[0]?.fields).toMatchObject({ usedBytes: over, objects: 100 });
  });

  test("pauses where letting go shows no effect", () => {
    const host = new GuardedHost();
    host.addMany(100, { megabytes: 10, idleForMs: 10_000 });
    host.usedBytes = over;
    host.look();
    host.lookAfter(guardLimits.settleMs);
    const stopped = host.slept.length;
    expect(host.lookAfter(guardLimits.settleMs)).toEqual({ kind: "stuck", why: "no_effect" });
    for (let waitedMs = 5000; waitedMs < guardLimits.noEffectPauseMs; waitedMs += 5000) host.look();
    expect(host.slept.length).toBe(stopped);
    host.look();
    expect(host.slept.length).toBeGreaterThan(stopped);
  });

  test("collects garbage before it lets anybody go, and before it judges what that has brought", () => {
    const host = new GuardedHost({ collectsGarbage: true });
    host.addMany(100, { megabytes: 10, idleForMs: 10_000 });
    host.usedBytes = over;
    expect(host.look()).toEqual({ kind: "collected" });
    expect(host.slept).toEqual([]);
    expect(host.look()).toMatchObject({ kind: "slept" });
    const stopped = host.slept.length;
    expect(host.lookAfter(guardLimits.settleMs)).toEqual({ kind: "collected" });
    expect(host.slept.length).toBe(stopped);
    host.usedBytes = under;
    expect(host.look()).toEqual({ kind: "none" });
  });
});

describe("H24: the guard as it runs", () => {
  test("looks every few seconds, goes on at once with a survey, and ends with its timer", async () => {
    const host = new GuardedHost();
    host.addMany(5 * guardLimits.objectsPerStep, { megabytes: 0.1, idleForMs: 10_000 });
    host.usedBytes = over;
    const stop = host.guard.run(host.clock);
    await host.clock.advance(guardLimits.lookIntervalMs);
    expect(host.slept).toEqual([]);
    await host.clock.advance(5 * guardLimits.surveyIntervalMs);
    expect(host.slept.length).toBe(guardLimits.sleepsPerLook);
    stop();
    expect(host.clock.timersLeft).toBe(0);
  });

  test("survives what one look throws", async () => {
    const host = new GuardedHost();
    host.add("broken", { megabytes: 500, idleForMs: 10_000 });
    const broken = host.objects.get("broken");
    if (broken) broken.memory = () => JSON.parse("no");
    host.usedBytes = over;
    const stop = host.guard.run(host.clock);
    await host.clock.advance(2 * guardLimits.lookIntervalMs);
    expect(host.events.filter((event) => event === "memory.look_failed").length).toBe(2);
    stop();
  });
});

/** One reading after the other, at any distance, on a host with any objects. */
const spells = fc.record({
  objects: fc.array(
    fc.record({
      megabytes: fc.oneof(
        fc.constant(0.1),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 400 }),
      ),
      idleForMs: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined, freq: 1 }),
      mayMove: fc.boolean(),
    }),
    { maxLength: 100, size: "max" },
  ),
  collectsGarbage: fc.boolean(),
  takers: fc.boolean(),
  readings: fc.array(
    fc.record({
      delayMs: fc.integer({ min: 1, max: 30_000 }),
      usedShare: fc.oneof(
        fc.double({ min: 0, max: 1.2, noNaN: true }),
        fc.double({ min: 0.8, max: 1, noNaN: true }),
      ),
      loopDelayMs: fc.constantFrom(0, 50, 150, 300),
    }),
    { maxLength: 100, size: "max" },
  ),
});

describe("H25: never a storm", () => {
  test("no sequence of readings moves more than the budget in any minute", () => {
    fc.assert(
      fc.property(spells, ({ objects, readings, ...options }) => {
        const host = new GuardedHost(options);
        host.takers = options.takers;
        for (const [index, one] of objects.entries()) host.add(`${index}`, without(one));
        const movedAtMs: number[] = [];
        for (const { delayMs, usedShare, loopDelayMs } of readings) {
          host.usedBytes = usedShare * limitBytes;
          host.loopDelayMs = loopDelayMs;
          const before = { moved: host.moved.length, slept: host.slept.length };
          host.lookAfter(delayMs);
          const nowMs = host.clock.monotonicMs();
          for (let move = before.moved; move < host.moved.length; move += 1) movedAtMs.push(nowMs);
          const lastMinute = movedAtMs.filter((atMs) => nowMs - atMs < 60_000);
          expect(lastMinute.length).toBeLessThanOrEqual(guardLimits.movesPerMinute);
          // Nobody is let go but under pressure, and nobody moves while others could sleep.
          const letGo = host.moved.length + host.slept.length - before.moved - before.slept;
          if (host.guard.pressure !== "memory_limit") expect(letGo).toBe(0);
          if (host.slept.length > before.slept) expect(host.moved.length).toBe(before.moved);
        }
      }),
    );
  });

  test("whatever was before, a reading under the low mark ends the refusing", () => {
    fc.assert(
      fc.property(spells, ({ objects, readings, ...options }) => {
        const host = new GuardedHost(options);
        for (const [index, one] of objects.entries()) host.add(`${index}`, without(one));
        for (const { delayMs, usedShare } of readings) {
          host.usedBytes = usedShare * limitBytes;
          host.lookAfter(delayMs);
        }
        host.usedBytes = under;
        expect(host.look()).toEqual({ kind: "none" });
        expect(host.guard.pressure).toBeUndefined();
      }),
    );
  });
});

function without({
  idleForMs,
  ...options
}: {
  megabytes: number;
  idleForMs: number | undefined;
  mayMove: boolean;
}) {
  return idleForMs === undefined ? options : { ...options, idleForMs };
}
