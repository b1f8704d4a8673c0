import { afterEach, describe, expect, test } from "bun:test";
import type { StoredAlarm } from "../../infra/lease/stored-objects.ts";
import { type ErrorCode, StatefulError } from "../../infra/lib/errors.ts";
import { type Log, silentLog } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { alarmAttemptsMax, alarmBackoffMs } from "../../infra/storage/alarm-attempts.ts";
import { AlarmBook, type AlarmFiring, alarmsAtOnceMax } from "../../infra/storage/alarm-book.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const payload = new Uint8Array([1, 2, 3]);

interface Firing extends AlarmFiring {
  /** By the directory's clock, since the scene began. */
  readonly atMs: number;
}

type Handler = (firing: Firing) => void | Promise<void>;

/** One activation and the directory's rows of it. A commit takes `commitMs`; rows are there at its end. */
class Scene {
  readonly clock: VirtualClock;
  readonly startMs: number;
  rows = new Map<string, StoredAlarm>();
  readonly firings: Firing[] = [];
  /** What the book and the scene did, in order. */
  readonly events: string[] = [];
  readonly logged: Array<readonly [event: string, fields: unknown]> = [];
  commitMs = 0;
  /** In the middle there is no jitter. */
  random = () => 0.5;
  /** How much the directory's clock is behind this machine's. */
  behindMs = 0;
  handler: Handler = () => undefined;
  refuseWrite: StatefulError | undefined;
  changes = 0;
  isInside = true;
  book: AlarmBook;
  #pending = new Map<string, StoredAlarm | null>();
  #over: StatefulError | undefined;

  constructor(rows: Readonly<Record<string, Partial<StoredAlarm>>> = {}, clock = new VirtualClock()) {
    this.clock = clock;
    this.startMs = clock.wallMs();
    for (const [name, row] of Object.entries(rows)) this.rows.set(name, storedAlarm(this.startMs, row));
    this.book = this.load();
    scenes.push(this);
  }

  /** Another activation of the same object, with what the directory has. What was not committed is lost. */
  load(alarmsMax = 32): AlarmBook {
    this.book?.close();
    this.#pending.clear();
    this.#over = undefined;
    const log: Log = {
      ...silentLog,
      warn: (event, fields) => this.logged.push([event, fields]),
      error: (event, fields) => this.logged.push([event, fields]),
    };
    this.book = new AlarmBook({
      ref: objectRef("room", "one"),
      loaded: new Map(this.rows),
      alarmsMax,
      clock: this.clock,
      random: () => this.random(),
      log,
      nowMs: () => this.nowMs(),
      write: (name, alarm, by) => this.#write(name, alarm, by),
      isInside: () => this.isInside,
      durable: () => this.commit(),
      fire: (firing, settled) => this.#fire(firing, settled),
      changed: () => {
        this.changes += 1;
      },
    });
    return this.book;
  }

  nowMs(): number {
    return this.clock.wallMs() - this.behindMs;
  }

  /** By the directory's clock, since the scene began. */
  sinceMs(timeMs = this.nowMs()): number {
    return timeMs - this.startMs;
  }

  async commit(): Promise<void> {
    await new Promise<void>((resolve) => this.clock.after(this.commitMs, resolve));
    if (this.#over) throw this.#over;
    for (const [name, alarm] of this.#pending) {
      if (alarm === null) this.rows.delete(name);
      else this.rows.set(name, alarm);
    }
    this.#pending.clear();
    this.events.push("commit");
  }

  /** Commits what waits, and lets that time pass. */
  async committed(): Promise<void> {
    const done = this.commit();
    await this.clock.advance(this.commitMs);
    await done;
  }

  /** The activation ends: nothing of it is committed any more. */
  fail(code: ErrorCode): void {
    this.#over = new StatefulError(code, "the lease is gone");
  }

  row(name: string): StoredAlarm | undefined {
    return this.rows.get(name);
  }

  log(): string[] {
    return this.logged.map(([event]) => event);
  }

  #write(name: string, alarm: StoredAlarm | null, by: "author" | "firing"): void {
    if (this.refuseWrite) throw this.refuseWrite;
    const what = alarm === null ? "delete" : `attempt ${alarm.attempt}`;
    this.events.push(`${by} writes ${name}: ${what}`);
    this.#pending.set(name, alarm);
  }

  async #fire(firing: AlarmFiring, settled: () => void): Promise<void> {
    this.events.push(`fire ${firing.name}`);
    const seen = { ...firing, atMs: this.sinceMs() };
    this.firings.push(seen);
    await this.handler(seen);
    this.events.push(`end ${firing.name}`);
    settled();
    await this.commit();
  }
}

const scenes: Scene[] = [];

afterEach(async () => {
  for (const scene of scenes.splice(0)) {
    scene.book.close();
    await scene.clock.advance(600_000);
    expect(scene.clock.timersLeft).toBe(0);
  }
});

function storedAlarm(startMs: number, row: Partial<StoredAlarm>): StoredAlarm {
  return {
    attempt: 0,
    schedule: "",
    payload,
    parked: false,
    lastError: "",
    ...row,
    dueAtMs: startMs + (row.dueAtMs ?? 0),
  };
}

function failing(message = "the mail server is away"): Handler {
  return () => Promise.reject(new Error(message));
}

function gate(): { readonly wait: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { wait: promise, open: resolve };
}

describe("when it fires", () => {
  test("at its time, with what it was set with, and then it is gone", async () => {
    const { book, clock, firings, rows, startMs } = start(new Scene());
    book.set("mail", { afterMs: 5_000 }, payload);
    await clock.advance(4_999);
    expect(firings).toEqual([]);
    await clock.advance(1);
    expect(firings).toEqual([{ name: "mail", payload, attempt: 1, dueAtMs: startMs + 5_000, atMs: 5_000 }]);
    expect(book.get("mail")).toBeUndefined();
    expect(rows.size).toBe(0);
  });

  test("what is overdue at the start fires at once, the most overdue first", async () => {
    const scene = new Scene({ b: { dueAtMs: -5 }, a: { dueAtMs: -7_000 }, later: { dueAtMs: 1 } });
    await scene.clock.advance(0);
    expect(scene.firings).toEqual([]);
    scene.book.start();
    await scene.clock.advance(0);
    expect(scene.firings.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test("a timer that is early by the directory's clock waits for the rest", async () => {
    const scene = new Scene();
    const { book, clock, firings } = start(scene);
    book.set("mail", { afterMs: 5_000 }, payload);
    scene.behindMs = 300;
    await clock.advance(5_299);
    expect(firings).toEqual([]);
    await clock.advance(1);
    expect(firings).toHaveLength(1);
  });

  test("a clock that drifts for days makes it no more than a little late", async () => {
    const scene = new Scene();
    const { book, clock, firings } = start(scene);
    book.set("mail", { afterMs: 24 * 3_600_000 }, payload);
    await clock.advance(23 * 3_600_000);
    scene.behindMs = -60_000;
    await clock.advance(3_540_000);
    expect(firings).toHaveLength(1);
  });

  test("so many at once and no more; the next begins when one ends", async () => {
    const scene = new Scene();
    const { book, clock, firings } = start(scene);
    const first = gate();
    scene.handler = ({ name }) => (name === "a0" ? first.wait : new Promise(() => undefined));
    for (let index = 0; index < alarmsAtOnceMax + 3; index += 1) book.set(`a${index}`, index, payload);
    await clock.advance(1_000);
    expect(firings).toHaveLength(alarmsAtOnceMax);
    expect(book.isFiring).toBe(true);
    first.open();
    await clock.advance(0);
    expect(firings).toHaveLength(alarmsAtOnceMax + 1);
  });

  test("the earliest time is known, and its changes are told", () => {
    const scene = new Scene();
    const { book, startMs } = start(scene);
    expect(book.nextDueMs).toBeUndefined();
    book.set("b", { afterMs: 5_000 }, payload);
    book.set("c", { afterMs: 9_000 }, payload);
    expect([book.nextDueMs, scene.changes]).toEqual([startMs + 5_000, 1]);
    book.set("a", { afterMs: 1_000 }, payload);
    expect([book.nextDueMs, scene.changes]).toEqual([startMs + 1_000, 2]);
    book.delete("c");
    expect(scene.changes).toBe(2);
    book.delete("a");
    expect([book.nextDueMs, scene.changes]).toEqual([startMs + 5_000, 3]);
  });
});

describe("A1 counted before it runs", () => {
  test("A1 the attempt and its back-off are in the directory before the handler begins", async () => {
    const scene = new Scene({ mail: {} });
    scene.commitMs = 40;
    const inDirectory: Array<StoredAlarm | undefined> = [];
    scene.handler = () => void inDirectory.push(scene.row("mail"));
    const { clock } = start(scene);
    await clock.advance(1_000);
    expect(inDirectory).toEqual([storedAlarm(scene.startMs, { attempt: 1, dueAtMs: 1_000 })]);
    expect(scene.events).toEqual([
      "firing writes mail: attempt 1",
      "commit",
      "fire mail",
      "end mail",
      "firing writes mail: delete",
      "commit",
    ]);
  });

  test("A1 a handler that kills its process is retried with back-off, and parked after its attempts", async () => {
    const scene = new Scene({ bomb: {} });
    scene.handler = () => {
      // The end of the process: the next activation knows what was committed and nothing else.
      scene.load().start();
      return new Promise(() => undefined);
    };
    scene.book.start();
    await scene.clock.advance(600_000);
    expect(scene.firings.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(scene.firings.map(({ atMs }) => atMs / 1000)).toEqual([0, 1, 3, 7, 15, 31, 63, 127]);
    await scene.committed();
    expect(scene.row("bomb")).toMatchObject({ parked: true, attempt: 8 });
    expect(scene.row("bomb")?.lastError).toContain("Attempt 8 was cut off");
    expect(scene.log()).toEqual(["alarm.parked"]);
  });

  test("A1 an attempt that cannot be counted does not run", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.fail("activation_over");
    await scene.clock.advance(10_000);
    expect(scene.firings).toEqual([]);
    expect(scene.row("mail")).toEqual(storedAlarm(scene.startMs, {}));
    scene.load().start();
    await scene.clock.advance(0);
    expect(scene.firings).toMatchObject([{ attempt: 1 }]);
  });

  test("A1 a write that is refused is tried again later", async () => {
    const scene = new Scene({ mail: {} });
    scene.refuseWrite = new StatefulError("storage_limit", "too much waits");
    const { book, clock, firings } = start(scene);
    await clock.advance(999);
    expect(firings).toEqual([]);
    expect(scene.log()).toEqual(["alarm.not_written"]);
    scene.refuseWrite = undefined;
    await clock.advance(1);
    expect(firings).toMatchObject([{ attempt: 1 }]);
    expect(book.list()).toEqual([]);
  });
});

describe("A2 a row is removed only in the commit that ends its handler, and only the one that fired", () => {
  test("A2 while the handler runs the row is there", async () => {
    const scene = start(new Scene({ mail: {} }));
    const { wait, open } = gate();
    scene.handler = () => wait;
    await scene.clock.advance(30_000);
    expect(scene.row("mail")).toMatchObject({ attempt: 1 });
    expect(scene.firings).toHaveLength(1);
    open();
    await scene.clock.advance(0);
    expect(scene.rows.size).toBe(0);
  });

  test("A2 a handler sets its own alarm again, and that one stays", async () => {
    const scene = start(new Scene({ tick: {} }));
    scene.handler = ({ attempt, atMs }) => {
      expect(attempt).toBe(1);
      if (atMs < 3_000) scene.book.set("tick", { afterMs: 1_000 }, payload);
    };
    await scene.clock.advance(2_500);
    expect(scene.firings.map(({ atMs }) => atMs)).toEqual([0, 1_000, 2_000]);
    expect(scene.row("tick")).toEqual(storedAlarm(scene.startMs, { dueAtMs: 3_000 }));
    await scene.clock.advance(5_000);
    expect(scene.firings).toHaveLength(4);
    expect(scene.rows.size).toBe(0);
  });

  test("A2 one that is set again while it fires, and is due at once, waits for the end of the firing", async () => {
    const scene = start(new Scene({ tick: {} }));
    const { wait, open } = gate();
    scene.handler = () => (scene.firings.length === 1 ? wait : undefined);
    await scene.clock.advance(0);
    scene.book.set("tick", scene.nowMs(), new Uint8Array([9]));
    await scene.clock.advance(10_000);
    expect(scene.firings).toHaveLength(1);
    open();
    await scene.clock.advance(0);
    expect(scene.firings.map((firing) => firing.payload)).toEqual([payload, new Uint8Array([9])]);
  });

  test("A2 the failure of a handler that has set its alarm again leaves the new one alone", async () => {
    const scene = start(new Scene({ tick: {} }));
    scene.handler = () => {
      if (scene.firings.length > 1) return;
      scene.book.set("tick", { afterMs: 20_000 }, payload);
      throw new Error("too late");
    };
    await scene.clock.advance(19_999);
    expect(scene.firings).toHaveLength(1);
    expect(scene.book.get("tick")).toMatchObject({ attempt: 0, lastError: undefined });
    await scene.clock.advance(1);
    expect(scene.firings).toHaveLength(2);
  });

  test("A2 a handler deletes its own alarm", async () => {
    const scene = start(new Scene({ tick: { schedule: '{"every":1000,"from":0}' } }));
    scene.handler = () => void scene.book.delete("tick");
    await scene.clock.advance(10_000);
    expect(scene.firings).toHaveLength(1);
    expect(scene.rows.size).toBe(0);
  });

  test("A2 what is deleted while its attempt is counted does not run", async () => {
    const scene = new Scene({ mail: {} });
    scene.commitMs = 100;
    start(scene);
    await scene.clock.advance(50);
    expect(scene.book.delete("mail")).toBe(true);
    await scene.committed();
    expect(scene.firings).toEqual([]);
    expect(scene.rows.size).toBe(0);
  });
});

describe("A3 retried with back-off, then parked", () => {
  test("A3 one second, two, four… after each failure, eight times", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = failing();
    await scene.clock.advance(600_000);
    expect(scene.firings.map(({ atMs }) => atMs / 1000)).toEqual([0, 1, 3, 7, 15, 31, 63, 127]);
    expect(scene.firings.map(({ dueAtMs }) => dueAtMs)).toEqual(Array(8).fill(scene.startMs));
    expect(scene.log()).toEqual([...Array(7).fill("alarm.failed"), "alarm.parked"]);
    expect(scene.logged.at(-1)?.[1]).toEqual({
      object: "room/one",
      alarm: "mail",
      attempts: alarmAttemptsMax,
      error: new Error("the mail server is away"),
    });
    const parked = { parked: true, attempt: 8, lastError: "the mail server is away" };
    expect(scene.book.get("mail")).toMatchObject({ ...parked, dueAt: new Date(scene.startMs) });
    expect(scene.book.nextDueMs).toBeUndefined();
    await scene.committed();
    expect(scene.row("mail")).toEqual(storedAlarm(scene.startMs, parked));
  });

  test("A3 the back-off counts from the end of the attempt", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = async () => {
      await new Promise<void>((resolve) => scene.clock.after(10_000, resolve));
      throw new Error("slow");
    };
    await scene.clock.advance(11_000);
    expect(scene.firings.map(({ atMs }) => atMs)).toEqual([0, 11_000]);
  });

  test("A3 a success after failures ends it", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = ({ attempt }) => {
      if (attempt < 3) throw new Error("not yet");
    };
    await scene.clock.advance(60_000);
    expect(scene.firings.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(scene.rows.size).toBe(0);
  });

  test("A3 a parked alarm waits until it is set again or an operator wants it tried", async () => {
    const scene = start(new Scene({ a: { parked: true, attempt: 8 }, b: { parked: true, attempt: 8 } }));
    await scene.clock.advance(60_000);
    expect(scene.firings).toEqual([]);
    scene.book.set("a", scene.nowMs(), payload);
    expect(scene.book.retry("b")).toBe(true);
    expect(scene.book.retry("b")).toBe(false);
    expect(scene.book.retry("nobody")).toBe(false);
    await scene.clock.advance(0);
    expect(scene.firings).toMatchObject([
      { name: "a", attempt: 1 },
      { name: "b", attempt: 1 },
    ]);
    expect(scene.rows.size).toBe(0);
  });

  test.each<ErrorCode>(["activation_over", "session_over", "not_owner", "outcome_unknown", "fenced"])(
    "A3 %s is no failure of the handler: the row stays as it is",
    async (code) => {
      const scene = start(new Scene({ mail: {} }));
      scene.handler = () => Promise.reject(new StatefulError(code, "gone"));
      await scene.clock.advance(500);
      const counted = storedAlarm(scene.startMs, { attempt: 1, dueAtMs: 1_000 });
      await scene.committed();
      expect(scene.row("mail")).toEqual(counted);
      expect(scene.log()).toEqual([]);
      scene.handler = () => undefined;
      await scene.clock.advance(500);
      expect(scene.firings).toMatchObject([{ attempt: 1 }, { attempt: 2 }]);
    },
  );

  test("A3 an alarm whose schedule cannot be read is parked where an operator sees it", async () => {
    const scene = start(new Scene({ odd: { schedule: "{}" } }));
    await scene.clock.advance(10_000);
    expect(scene.firings).toEqual([]);
    expect(scene.log()).toEqual(["alarm.parked"]);
    expect(scene.book.get("odd")).toMatchObject({ parked: true, schedule: undefined });
  });

  test("A3 a failure's text is short and well-formed", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = failing(`\0${"x".repeat(498)}😀`);
    await scene.clock.advance(0);
    expect(scene.book.get("mail")?.lastError).toBe(`\ufffd${"x".repeat(498)}\ufffd`);
  });

  test("A3 the back-off doubles up to five minutes, give or take a quarter", () => {
    const middle = [1, 2, 3, 9, 10, 60].map((attempt) => alarmBackoffMs(attempt, () => 0.5));
    expect(middle).toEqual([1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
    expect(alarmBackoffMs(1, () => 0)).toBe(750);
    expect(alarmBackoffMs(1, () => 0.999_999)).toBe(1_250);
  });
});

describe("A4 recurring keeps its grid", () => {
  test("A4 late and long handlers do not shift it, and what is missed is one occurrence", async () => {
    const scene = start(new Scene());
    scene.book.set("tick", { every: 10_000 }, payload);
    scene.handler = async ({ atMs }) => {
      const lasts = atMs === 20_000 ? 25_000 : 700;
      await new Promise<void>((resolve) => scene.clock.after(lasts, resolve));
    };
    await scene.clock.advance(60_000);
    expect(scene.firings.map(({ atMs }) => atMs / 1000)).toEqual([10, 20, 50, 60]);
    expect(scene.firings.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
  });

  test("A4 an object that slept fires once for all it missed, and goes on with the grid", async () => {
    const scene = new Scene();
    scene.book.set("tick", { every: 10_000 }, payload);
    await scene.committed();
    await scene.clock.advance(95_500);
    scene.load().start();
    await scene.clock.advance(14_500);
    expect(scene.firings.map(({ atMs }) => atMs / 1000)).toEqual([95.5, 100, 110]);
  });

  test("A4 the back-off of a crash does not become the grid", async () => {
    const scene = new Scene();
    scene.book.set("tick", { every: 10_000 }, payload);
    scene.handler = () => {
      if (scene.firings.length > 1) return;
      scene.load().start();
      return new Promise(() => undefined);
    };
    scene.book.start();
    await scene.clock.advance(30_000);
    expect(scene.firings.map(({ atMs, attempt }) => [atMs / 1000, attempt])).toEqual([
      [10, 1],
      [11, 2],
      [20, 1],
      [30, 1],
    ]);
  });

  test("A4 after eight failures it goes on with its next time, and the failure is known", async () => {
    const scene = start(new Scene());
    scene.book.set("tick", { every: 100_000 }, payload);
    scene.handler = failing();
    await scene.clock.advance(299_999);
    expect(scene.firings.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(scene.log().at(-1)).toBe("alarm.gave_up");
    expect(scene.book.get("tick")).toMatchObject({
      dueAt: new Date(scene.startMs + 300_000),
      attempt: 0,
      parked: false,
      lastError: "the mail server is away",
    });
    scene.handler = () => undefined;
    await scene.clock.advance(1);
    expect(scene.firings.at(-1)).toMatchObject({ attempt: 1, atMs: 300_000 });
    expect(scene.book.get("tick")).toMatchObject({ lastError: undefined, schedule: { every: 100_000 } });
  });

  test("A4 a cron pattern ends with its last time; if that fails for good it is parked", async () => {
    const cron = '{"cron":"0 0 0 1 1 * 2030","timeZone":"UTC"}';
    const scene = start(new Scene({ well: { schedule: cron }, badly: { schedule: cron } }));
    scene.handler = ({ name }) => {
      if (name === "badly") throw new Error("no");
    };
    await scene.clock.advance(600_000);
    expect(scene.book.list()).toMatchObject([{ name: "badly", parked: true, lastError: "no" }]);
  });
});

describe("a transaction", () => {
  test("what it set does not fire before its end, and is forgotten when it is rolled back", async () => {
    const scene = start(new Scene());
    scene.book.set("kept", { afterMs: 90_000 }, payload);
    const snapshot = scene.book.snapshot();
    scene.book.set("new", scene.nowMs(), payload);
    scene.book.delete("kept");
    expect(scene.book.list().map(({ name }) => name)).toEqual(["new"]);
    await scene.clock.advance(1_000);
    expect(scene.firings).toEqual([]);
    scene.book.restore(snapshot);
    await scene.clock.advance(1_000);
    expect(scene.book.list().map(({ name }) => name)).toEqual(["kept"]);
    expect(scene.firings).toEqual([]);
  });

  test("what it set fires when it is committed; a rollback that comes after changes nothing", async () => {
    const scene = start(new Scene({ gone: { dueAtMs: 5_000 } }));
    const snapshot = scene.book.snapshot();
    scene.book.set("new", scene.nowMs(), payload);
    scene.book.delete("gone");
    scene.book.release(snapshot);
    scene.book.restore(snapshot);
    await scene.clock.advance(10_000);
    expect(scene.firings.map(({ name }) => name)).toEqual(["new"]);
    expect(scene.rows.size).toBe(0);
  });

  test("what others do meanwhile is no part of it, and they see nothing of it", async () => {
    const scene = start(new Scene({ mail: { dueAtMs: 1_000 } }));
    const snapshot = scene.book.snapshot();
    scene.book.delete("mail");
    scene.book.set("inside", { afterMs: 80_000 }, payload);
    scene.isInside = false;
    expect(scene.book.list().map(({ name }) => name)).toEqual(["mail"]);
    expect(scene.book.get("inside")).toBeUndefined();
    scene.book.set("outside", { afterMs: 90_000 }, payload);
    await scene.clock.advance(1_000);
    expect(scene.firings.map(({ name }) => name)).toEqual(["mail"]);
    scene.isInside = true;
    expect(scene.book.list().map(({ name }) => name)).toEqual(["inside", "outside"]);
    scene.book.restore(snapshot);
    expect(scene.book.list().map(({ name }) => name)).toEqual(["outside"]);
  });

  test("past the limit of alarms one has to be deleted first, inside as well", () => {
    const book = new Scene({ a: {}, b: {} }).load(2);
    book.snapshot();
    expect(codeOf(() => book.set("c", 0, payload))).toBe("storage_limit");
    book.delete("a");
    expect(codeOf(() => book.set("c", 0, payload))).toBeUndefined();
    expect(codeOf(() => book.set("d", 0, payload))).toBe("storage_limit");
  });

  test("an alarm whose handler ended meanwhile does not come back, and its end is no part of the transaction", async () => {
    const scene = start(new Scene({ mail: {} }));
    const { wait, open } = gate();
    scene.handler = () => wait;
    await scene.clock.advance(0);
    const snapshot = scene.book.snapshot();
    scene.book.set("other", { afterMs: 1 }, payload);
    open();
    await scene.clock.advance(0);
    expect(scene.events).toContain("firing writes mail: delete");
    scene.book.restore(snapshot);
    expect(scene.book.list()).toEqual([]);
  });

  test("A2 a handler that sets its alarm again in a transaction leaves the new one", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = () => {
      if (scene.firings.length > 1) return;
      const snapshot = scene.book.snapshot();
      scene.book.set("mail", { afterMs: 5_000 }, payload);
      scene.book.release(snapshot);
    };
    await scene.clock.advance(4_999);
    expect(scene.row("mail")).toEqual(storedAlarm(scene.startMs, { dueAtMs: 5_000 }));
    await scene.clock.advance(1);
    expect(scene.firings).toMatchObject([{ attempt: 1 }, { attempt: 1 }]);
    expect(scene.rows.size).toBe(0);
  });

  test("a handler whose own transaction is rolled back ends the alarm that fired", async () => {
    const scene = start(new Scene({ mail: {} }));
    scene.handler = () => {
      const snapshot = scene.book.snapshot();
      scene.book.set("mail", { afterMs: 5_000 }, payload);
      scene.book.restore(snapshot);
    };
    await scene.clock.advance(10_000);
    expect(scene.firings).toHaveLength(1);
    expect(scene.book.list()).toEqual([]);
  });
});

describe("the activation's life", () => {
  test("nothing begins while the session is over, and what is due fires when it is back", async () => {
    const scene = start(new Scene());
    scene.book.set("mail", { afterMs: 1_000 }, payload);
    scene.book.pause();
    expect(scene.clock.timersLeft).toBe(0);
    await scene.clock.advance(5_000);
    expect(scene.firings).toEqual([]);
    scene.book.resume();
    await scene.clock.advance(0);
    expect(scene.firings).toMatchObject([{ attempt: 1, atMs: 5_000 }]);
  });

  test("an attempt that was counted when the session ended has not run, and is not lost", async () => {
    const scene = new Scene({ mail: {} });
    scene.commitMs = 100;
    start(scene);
    await scene.clock.advance(50);
    scene.book.pause();
    await scene.clock.advance(50);
    expect(scene.firings).toEqual([]);
    scene.book.resume();
    await scene.clock.advance(100);
    expect(scene.firings).toMatchObject([{ attempt: 1, dueAtMs: scene.startMs, atMs: 200 }]);
  });

  test("after its end a handler that still runs changes nothing", async () => {
    const scene = start(new Scene({ well: {}, badly: {} }));
    const { wait, open } = gate();
    scene.handler = async ({ name }) => {
      await wait;
      if (name === "badly") throw new Error("no");
    };
    await scene.clock.advance(0);
    scene.book.close();
    scene.book.start();
    const written = scene.events.filter((event) => event.includes("writes")).length;
    open();
    await scene.clock.advance(60_000);
    expect(scene.events.filter((event) => event.includes("writes"))).toHaveLength(written);
    expect(scene.firings).toHaveLength(2);
    expect(scene.log()).toEqual([]);
  });
});

describe("what an author may set", () => {
  test("all are listed, by when they are due, with what they were set with", () => {
    const { book, startMs } = new Scene();
    book.set("second", { cron: "0 0 * * *" }, payload);
    book.set("first", { every: 60_000 }, payload);
    const common = { attempt: 0, payload, parked: false, lastError: undefined };
    expect(book.list()).toEqual([
      { ...common, name: "first", dueAt: new Date(startMs + 60_000), schedule: { every: 60_000 } },
      {
        ...common,
        name: "second",
        dueAt: new Date(startMs + 86_400_000),
        schedule: { cron: "0 0 * * *", timeZone: "UTC" },
      },
    ]);
    expect(book.delete("first")).toBe(true);
    expect(book.delete("first")).toBe(false);
    expect(book.get("first")).toBeUndefined();
  });

  test.each([
    ["an empty name", ""],
    ["a name with U+0000", "a\0b"],
    ["a name that is not well-formed", "\ud800"],
    ["a name of 257 bytes", `a${"é".repeat(128)}`],
  ])("refused: %s", (_, name) => {
    const scene = new Scene();
    expect(codeOf(() => scene.book.set(name, 0, payload))).toBe("bad_request");
    expect(scene.events).toEqual([]);
  });

  test("a name of 256 bytes and a payload of 16 KiB are taken", () => {
    const { book } = new Scene();
    book.set("é".repeat(128), 0, new Uint8Array(16 * 1024));
    expect(codeOf(() => book.set("large", 0, new Uint8Array(16 * 1024 + 1)))).toBe("storage_limit");
    expect(codeOf(() => book.set("never", Number.NaN, payload))).toBe("bad_request");
    expect(book.list()).toHaveLength(1);
  });

  test("past the limit of alarms only those that exist can be set", () => {
    const book = new Scene().load(2);
    book.set("a", 0, payload);
    book.set("b", 0, payload);
    expect(codeOf(() => book.set("c", 0, payload))).toBe("storage_limit");
    book.set("a", 1, payload);
    expect(book.list().map(({ name }) => name)).toEqual(["b", "a"]);
  });

  test("what cannot be written is not set and not deleted", () => {
    const scene = new Scene({ kept: {} });
    scene.refuseWrite = new StatefulError("activation_over", "gone");
    expect(codeOf(() => scene.book.set("new", 0, payload))).toBe("activation_over");
    expect(codeOf(() => scene.book.delete("kept"))).toBe("activation_over");
    expect(scene.book.list().map(({ name }) => name)).toEqual(["kept"]);
  });
});

function start(scene: Scene): Scene {
  scene.book.start();
  return scene;
}

function codeOf(call: () => unknown): ErrorCode | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return error instanceof StatefulError ? error.code : "internal";
  }
}
