import { expect, test } from "bun:test";
import fc from "fast-check";
import { emptyHistory, oldestPosition, TopicHistory } from "../../infra/topics/topic-history.ts";
import { positionAfter } from "../../infra/topics/topic-message.ts";

const roomy = { count: 1000, ageMs: 60_000, bytes: 1_000_000 };
const text = (data: string) => ({ data, form: "text" as const });

function historyOf(limits = roomy, id = "h"): TopicHistory {
  return new TopicHistory(limits, emptyHistory(id));
}

test("T5 a resume has every message after its position, in order, or none", () => {
  const step = fc.oneof(
    fc.record({ does: fc.constant("append" as const), length: fc.nat({ max: 40 }) }),
    fc.record({ does: fc.constant("wait" as const), ms: fc.nat({ max: 400 }) }),
    fc.record({ does: fc.constant("retract" as const) }),
    fc.record({ does: fc.constant("travel" as const) }),
    fc.record({ does: fc.constant("resume" as const), back: fc.nat({ max: 30 }) }),
  );
  const limits = fc.record({
    count: fc.integer({ min: 1, max: 12 }),
    ageMs: fc.integer({ min: 1, max: 1000 }),
    bytes: fc.integer({ min: 1, max: 2000 }),
  });
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 120 }), (limits, steps) => {
      let history = historyOf(limits);
      let nowMs = 1_000_000;
      const published: { data: string; position: string; atMs: number }[] = [];
      for (const step of steps) {
        if (step.does === "wait") nowMs += step.ms;
        else if (step.does === "travel") history = new TopicHistory(limits, history.kept(nowMs));
        else if (step.does === "retract") {
          const last = published.at(-1);
          if (last === undefined || last.atMs !== nowMs || history.length === 0) continue;
          history.retract(last.position);
          published.pop();
        } else if (step.does === "append") {
          const data = "x".repeat(step.length);
          published.push({ data, position: history.append(text(data), nowMs), atMs: nowMs });
        } else {
          const index = published.length - 1 - step.back;
          const since = index < 0 ? "h.0" : (published[index]?.position ?? "h.0");
          const expected = published.slice(Math.max(0, index + 1));
          const start = history.start(since, nowMs);
          if (start.recovered) {
            expect(start.missed.map(({ position }) => position)).toEqual(
              expected.map(({ position }) => position),
            );
            expect(start.missed.map(({ data }) => String(data))).toEqual(expected.map(({ data }) => data));
            expect(start.position).toBe(since);
          } else {
            expect(start.missed).toEqual([]);
            expect(expected.length).toBeGreaterThan(history.length); // Something of it is gone.
          }
          expect(positionAfter(start)).toBe(published.at(-1)?.position ?? "h.0");
        }
        expect(history.length).toBeLessThanOrEqual(limits.count);
        expect(history.length === 0 || history.bytes <= limits.bytes).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});

test("T5 what is kept is whatever is within all limits", () => {
  const history = historyOf({ count: 3, ageMs: 100, bytes: 1_000_000 });
  for (const data of ["a", "b", "c", "d"]) history.append(text(data), 1000);
  expect(history.start("h.1", 1000)).toMatchObject({
    recovered: true,
    missed: [{ data: "b" }, { data: "c" }, { data: "d" }],
  });
  expect(history.start("h.0", 1000)).toEqual({ position: "h.4", recovered: false, missed: [] });
  history.append(text("e"), 1060);
  expect(history.start("h.4", 1100)).toMatchObject({
    recovered: true,
    missed: [{ data: "e", position: "h.5" }],
  });
  expect(history.start("h.3", 1100).recovered).toBe(false);
  expect(history.start("h.5", 5000)).toEqual({ position: "h.5", recovered: true, missed: [] });
  expect(history.bytes).toBe(0);
});

test("a position of another history, of the future, or of no form is not recovered", () => {
  const history = historyOf();
  history.append(text("a"), 0);
  for (const since of [
    "other.1",
    "h.2",
    "h.01",
    "h.-1",
    "h.1.5",
    "h.",
    "h",
    "",
    "h.1e0",
    "h. 1",
    "h.99999999999999999999",
  ])
    expect([since, history.start(since, 0).recovered]).toEqual([since, false]);
  expect(history.start("h.1", 0).recovered).toBe(true);
});

test("the word oldest brings what is kept, and is no resume", () => {
  const history = historyOf({ ...roomy, count: 2 });
  expect(history.start(oldestPosition, 0)).toEqual({ position: "h.0", recovered: undefined, missed: [] });
  for (const data of ["a", "b", "c"]) history.append(text(data), 0);
  const start = history.start(oldestPosition, 0);
  expect([start.position, start.missed.map(({ data }) => data)]).toEqual(["h.1", ["b", "c"]]);
});

test("bytes are kept as they were when they were published", () => {
  const history = historyOf();
  const data = new Uint8Array([1]);
  history.append({ data, form: "bytes" }, 0);
  data[0] = 2;
  expect(history.start("h.0", 0).missed[0]?.data).toEqual(new Uint8Array([1]));
});

test("a message over the limit of bytes leaves no hole that looks whole", () => {
  const history = historyOf({ ...roomy, bytes: 200 });
  history.append(text("a"), 0);
  history.append(text("x".repeat(500)), 0);
  expect(history.length).toBe(0);
  expect(history.start("h.1", 0).recovered).toBe(false);
  expect(history.start("h.2", 0).recovered).toBe(true);
});
