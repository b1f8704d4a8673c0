import { describe, expect, test } from "bun:test";
import { StatefulError } from "../../infra/lib/errors.ts";
import { nextDueMs, planAlarm, recurrenceOf } from "../../infra/storage/alarm-schedule.ts";

const nowMs = Date.UTC(2030, 0, 1, 12, 0, 0);
const hourMs = 3_600_000;

describe("once", () => {
  test("a Date, a number and a delay say the same", () => {
    const dueAtMs = nowMs + 5_000;
    const plan = { dueAtMs, schedule: "" };
    expect(planAlarm(new Date(dueAtMs), nowMs)).toEqual(plan);
    expect(planAlarm(dueAtMs + 0.7, nowMs)).toEqual(plan);
    expect(planAlarm({ afterMs: 5_000.9 }, nowMs)).toEqual(plan);
  });

  test("what is past is due then, and never again", () => {
    expect(planAlarm(0, nowMs)).toEqual({ dueAtMs: 0, schedule: "" });
    expect(nextDueMs("", 0, nowMs)).toBeUndefined();
    expect(recurrenceOf("")).toBeUndefined();
  });
});

describe("every", () => {
  test("the first time is one interval away, or when startAt says", () => {
    expect(planAlarm({ every: 60_000.5 }, nowMs)).toEqual({
      dueAtMs: nowMs + 60_000,
      schedule: `{"every":60000,"from":${nowMs}}`,
    });
    const startAt = new Date(nowMs + 250);
    expect(planAlarm({ every: 60_000, startAt }, nowMs)).toEqual({
      dueAtMs: nowMs + 250,
      schedule: `{"every":60000,"from":${nowMs + 250}}`,
    });
  });

  test("A4 a start long ago gives the grid, and what was missed is not made up for", () => {
    const { dueAtMs, schedule } = planAlarm({ every: 60_000, startAt: nowMs - 10 * hourMs + 7 }, nowMs);
    expect(dueAtMs).toBe(nowMs + 7);
    expect(schedule).toBe(`{"every":60000,"from":${nowMs - 10 * hourMs + 7}}`);
    expect(planAlarm({ every: 60_000, startAt: nowMs - hourMs }, nowMs).dueAtMs).toBe(nowMs);
  });

  test("A4 recurring keeps its grid, however late it is and whatever the row said after a crash", () => {
    const { dueAtMs, schedule } = planAlarm({ every: 60_000 }, nowMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs)).toBe(nowMs + 120_000);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs + 59_999)).toBe(nowMs + 120_000);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs + 60_000)).toBe(nowMs + 180_000);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs + 3 * hourMs + 1)).toBe(dueAtMs + 3 * hourMs + 60_000);
    expect(nextDueMs(schedule, dueAtMs + 1_234, dueAtMs + 1_300)).toBe(nowMs + 120_000);
  });

  test("A4 a clock that went back does not make the same time due twice", () => {
    const { dueAtMs, schedule } = planAlarm({ every: 60_000 }, nowMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs - 500)).toBe(nowMs + 120_000);
  });

  test("it ends with the year 9999", () => {
    const startAt = Date.UTC(9999, 11, 31, 23, 59, 59);
    const { dueAtMs, schedule } = planAlarm({ every: 1_000, startAt }, nowMs);
    expect(dueAtMs).toBe(startAt);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs)).toBeUndefined();
  });

  test("it is shown as it was said", () => {
    expect(recurrenceOf(planAlarm({ every: 60_000 }, nowMs).schedule)).toEqual({ every: 60_000 });
  });
});

describe("cron", () => {
  test("five fields are in UTC unless a time zone is named", () => {
    expect(planAlarm({ cron: "0  8 * * * " }, nowMs)).toEqual({
      dueAtMs: Date.UTC(2030, 0, 2, 8),
      schedule: '{"cron":"0 8 * * *","timeZone":"UTC"}',
    });
    const berlin = planAlarm({ cron: "0 8 * * *", timeZone: "Europe/Berlin" }, nowMs);
    expect(berlin).toEqual({
      dueAtMs: Date.UTC(2030, 0, 2, 7),
      schedule: '{"cron":"0 8 * * *","timeZone":"Europe/Berlin"}',
    });
    expect(recurrenceOf(berlin.schedule)).toEqual({ cron: "0 8 * * *", timeZone: "Europe/Berlin" });
  });

  test("six fields have seconds in front, and a name stands for a pattern", () => {
    expect(planAlarm({ cron: "*/10 * * * * *" }, nowMs + 1).dueAtMs).toBe(nowMs + 10_000);
    expect(planAlarm({ cron: "@daily" }, nowMs).dueAtMs).toBe(Date.UTC(2030, 0, 2));
  });

  test("A4 the next time is strictly behind now, and what was missed is one occurrence", () => {
    const { dueAtMs, schedule } = planAlarm({ cron: "0 * * * *" }, nowMs);
    expect(dueAtMs).toBe(nowMs + hourMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs)).toBe(dueAtMs + hourMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs + 0.5)).toBe(dueAtMs + hourMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs + 5 * hourMs + 1)).toBe(dueAtMs + 6 * hourMs);
    expect(nextDueMs(schedule, dueAtMs, dueAtMs - 1)).toBe(dueAtMs + hourMs);
  });

  test.each([
    ["where clocks go forward, at the end of the gap", Date.UTC(2030, 2, 30, 2), Date.UTC(2030, 2, 31, 1)],
    ["where they go back, the first time", Date.UTC(2030, 9, 26, 12), Date.UTC(2030, 9, 27, 0, 30)],
    ["where they went back, not twice", Date.UTC(2030, 9, 27, 0, 30), Date.UTC(2030, 9, 28, 1, 30)],
  ])("a fixed time of day in Berlin: %s", (_, afterMs, expectedMs) => {
    const { dueAtMs } = planAlarm({ cron: "30 2 * * *", timeZone: "Europe/Berlin" }, afterMs);
    expect(new Date(dueAtMs)).toEqual(new Date(expectedMs));
  });

  test("every half hour stays every half hour when clocks go back", () => {
    const startMs = Date.UTC(2030, 9, 26, 23, 30);
    const { schedule, dueAtMs } = planAlarm({ cron: "*/30 * * * *", timeZone: "Europe/Berlin" }, startMs);
    let lastMs = dueAtMs;
    for (let step = 0; step < 8; step += 1) {
      const next = nextDueMs(schedule, lastMs, lastMs) ?? Number.NaN;
      expect(next - lastMs).toBe(hourMs / 2);
      lastMs = next;
    }
  });

  test("one with years ends", () => {
    const { dueAtMs, schedule } = planAlarm({ cron: "0 0 0 1 6 * 2030-2031" }, nowMs);
    expect(dueAtMs).toBe(Date.UTC(2030, 5, 1));
    expect(nextDueMs(schedule, dueAtMs, dueAtMs)).toBe(Date.UTC(2031, 5, 1));
    expect(nextDueMs(schedule, dueAtMs, Date.UTC(2031, 5, 1))).toBeUndefined();
  });
});

const cycle: Record<string, unknown> = { every: 5_000 };
cycle.startAt = cycle;

test.each<[what: string, when: unknown, names: string]>([
  ["nothing", undefined, "undefined"],
  ["null", null, "null"],
  ["text", "tomorrow", '"tomorrow"'],
  ["no number", Number.NaN, "NaN"],
  ["an endless number", Number.POSITIVE_INFINITY, "Infinity"],
  ["a time before 1970", -1, "-1"],
  ["a time after 9999", Date.UTC(10_000, 0), "253402300800000"],
  ["an invalid Date", new Date("never"), "invalid Date"],
  ["an empty object", {}, "{}"],
  ["two ways at once", { afterMs: 1, every: 5_000 }, "every"],
  ["a misspelt member", { cron: "0 8 * * *", timezone: "Europe/Berlin" }, '"timezone" is unknown'],
  ["a member of another way", { cron: "0 8 * * *", startAt: 5 }, "startAt"],
  ["a negative delay", { afterMs: -1 }, "-1"],
  ["a delay that is text", { afterMs: "5" }, '"5"'],
  ["a delay beyond 9999", { afterMs: 1e15 }, "1000000000000000"],
  ["every instant", { every: 999.9 }, "999.9"],
  ["every NaN", { every: Number.NaN }, "NaN"],
  ["every eternity", { every: Number.POSITIVE_INFINITY }, "Infinity"],
  ["a start that is no time", { every: 5_000, startAt: "now" }, '"now"'],
  ["a start that cannot be shown", cycle, "startAt"],
  ["a pattern of four fields", { cron: "0 8 * *" }, '"0 8 * *"'],
  ["a pattern out of range", { cron: "61 * * * *" }, "61"],
  ["a pattern that is a date", { cron: "2031-05-05T00:00:00" }, "Give a Date"],
  ["a pattern that is no text", { cron: 5 }, "5"],
  ["a pattern that is too long", { cron: `${"1,".repeat(200)}1 * * * *` }, "256"],
  ["a day that never comes", { cron: "0 0 30 2 *" }, "never occurs again in UTC"],
  ["a year that is over", { cron: "0 0 0 1 1 * 2020" }, "never occurs again"],
  ["an unknown time zone", { cron: "0 8 * * *", timeZone: "Europe/Atlantis" }, '"Europe/Atlantis"'],
  ["an empty time zone", { cron: "0 8 * * *", timeZone: "" }, "no time zone"],
])("refused with bad_request: %s", (_, when, names) => {
  const error = thrownBy(() => planAlarm(when, nowMs));
  expect(error.code).toBe("bad_request");
  expect(error.message).toContain(names);
});

test.each([
  "{",
  "null",
  '"every"',
  '{"every":60000}',
  '{"every":0,"from":0}',
  '{"every":"60000","from":0}',
  '{"cron":"0 8 * * *"}',
  '{"cron":"nonsense","timeZone":"UTC"}',
  '{"cron":"0 8 * * *","timeZone":"Europe/Atlantis"}',
])("a stored schedule that cannot be read says so: %s", (schedule) => {
  expect(thrownBy(() => nextDueMs(schedule, nowMs, nowMs)).code).toBe("internal");
  expect(() => recurrenceOf(schedule)).not.toThrow();
});

function thrownBy(call: () => unknown): StatefulError {
  try {
    call();
  } catch (error) {
    if (error instanceof StatefulError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
