import { expect, test } from "bun:test";
import { type EventText, eventLines, eventText } from "../../apps/dev/event-lines.ts";
import type { HostEvent } from "../../apps/dev/host-messages.ts";
import { colored, paletteFor, plain } from "../../apps/dev/palette.ts";

const at = new Date(2026, 0, 2, 3, 4, 5);
const regions = ["iad", "ams"];

function event(
  name: string,
  fields: HostEvent["fields"] = {},
  level: HostEvent["level"] = "info",
): HostEvent {
  return { level, name, fields };
}

function lines(from: HostEvent, region = "iad"): string[] {
  const text = eventText(region, from);
  return text === undefined ? [] : eventLines(text, at, regions, plain);
}

test("an event is one line in columns: time, region, what, about what", () => {
  expect(lines(event("object started", { object: "counter/a", epoch: 1 }))).toEqual([
    "03:04:05  iad  object started    counter/a",
  ]);
  expect(lines(event("object stopped", { object: "counter/a", reason: "idle" }), "ams")).toEqual([
    "03:04:05  ams  object stopped    counter/a  (idle)",
  ]);
});

test("a failed handler shows its error, the author's own frames and the id that the caller got", () => {
  const error = { message: "TypeError: no", details: ["at say (objects/room.ts:3:1)"] };
  const failed = event(
    "handler failed",
    { object: "room/a", path: "/room/a/say", error, errorId: "x1" },
    "error",
  );
  expect(lines(failed)).toEqual([
    "03:04:05  iad  handler failed    room/a/say  TypeError: no",
    "                 at say (objects/room.ts:3:1)",
    "                 answered with errorId x1",
  ]);
});

test("both spellings of an event's name are one event", () => {
  const peer = { session: "s", hostId: "dev-ams", region: "ams" };
  expect(lines(event("link.opened", { peer }))).toEqual(
    lines(event("link opened", { peer: "dev-ams", region: "ams" })),
  );
});

test("the first session of a process says nothing, a later one does", () => {
  expect(lines(event("session.opened", { session: "a" }))).toEqual([]);
  expect(lines(event("session.opened", { session: "b", previous: "a" }))).toHaveLength(1);
});

test("a host that cannot be dialled is told of once in a row", () => {
  const failed = (failures: number) =>
    event("link.dial_failed", { failures, error: { message: "refused", details: [] } }, "warn");
  expect(lines(failed(1))).toEqual(["03:04:05  iad  link dial failed  refused"]);
  expect(lines(failed(2))).toEqual([]);
});

test("an event that nobody has words for is shown with its fields", () => {
  expect(lines(event("alarm.fired", { object: "a/b", lateMs: 1.2345, session: "not shown" }))).toEqual([
    "03:04:05  iad  alarm fired       object=a/b  lateMs=1.2",
  ]);
});

test("a text without end is cut", () => {
  const [line = ""] = lines(event("object ended", { object: "a/b", cause: "x".repeat(5000) }));
  expect(line.length).toBeLessThan(500);
  expect(line).toEndWith("…");
});

test("colours are for terminals, and NO_COLOR turns them off", () => {
  expect(paletteFor({}, true)).toBe(colored);
  expect(paletteFor({}, false)).toBe(plain);
  expect(paletteFor({ NO_COLOR: "1" }, true)).toBe(plain);
  expect(paletteFor({ TERM: "dumb" }, true)).toBe(plain);
});

test("with and without colours a line has the same columns", () => {
  const text: EventText = {
    region: "ams",
    level: "error",
    title: "handler failed",
    subject: "a/b",
    details: ["at x"],
  };
  const painted = eventLines(text, at, regions, colored);
  expect(painted.join("")).toContain("\u001b[");
  expect(painted.map(Bun.stripANSI)).toEqual(eventLines(text, at, regions, plain));
});
