import { describe, expect, test } from "bun:test";
import { checkListeners } from "./listeners-check.ts";
import type { Listening, ListenerKind, Publishing, Told, Upheaval } from "./listening.ts";

const address = "board/a/-/topics/news";
const elsewhere = "board/a/-/topics/wall";
const calm: Upheaval = { losses: [], edgesGone: new Set() };

/** Message `mN` was sent at N × 100 ms and acknowledged 10 ms later. */
function published(count: number, more: Partial<Publishing> = {}): Publishing[] {
  return Array.from({ length: count }, (_, index) => {
    const sentAtMs = (index + 1) * 100;
    return {
      ...{ message: `m${index + 1}`, address, line: undefined, sentAtMs, answeredAtMs: sentAtMs + 10 },
      ...more,
    };
  });
}

function message(n: number): Told {
  return { kind: "message", atMs: n * 100 + 20, message: `m${n}`, position: `h.${n}` };
}

function heard(...numbers: number[]): Told[] {
  return numbers.map(message);
}

/** Told where it stands at N × 100 ms. */
function subscribed(n: number, since?: string, recovered?: boolean): Told {
  return {
    kind: "subscribed",
    atMs: n * 100,
    since,
    recovered,
    position: recovered === true ? since : "h.0",
  };
}

function closed(n: number, code = 1006, edge = "iad-1"): Told {
  return { kind: "closed", atMs: n * 100, edge, code };
}

function listening(listener: string, told: readonly Told[], kind: ListenerKind = "framed"): Listening {
  return { listener, kind, address, told };
}

function check(
  told: readonly (readonly Told[])[],
  publishings = published(6),
  upheaval: Upheaval = calm,
): string[] {
  const listenings = told.map((one, index) => listening(`c${index}`, one));
  const { offences } = checkListeners(listenings, publishings, upheaval);
  return offences.map(({ kind, client, text }) => `${kind} ${client} ${/: (\S+)/.exec(text)?.[1] ?? ""}`);
}

const whole = [subscribed(0), ...heard(1, 2, 3, 4, 5, 6)];

describe("what is right is not accused", () => {
  test("everything, once, in order, over resumes; and from the middle on", () => {
    const resumed = [subscribed(0), ...heard(1, 2), subscribed(5, "h.2", true), ...heard(3, 4, 5, 6)];
    const late = [subscribed(3.5), ...heard(4, 5, 6)];
    expect(check([whole, resumed, late])).toEqual([]);
  });

  test("a gap that was told, after the owner was lost", () => {
    const upheaval = { ...calm, losses: [{ object: "board/a", atMs: 230 }] };
    const back = [subscribed(0), ...heard(1, 2), subscribed(4.5, "h.2", false), ...heard(5, 6)];
    const stays = [subscribed(0), ...heard(1, 2), subscribed(3.5, undefined, false), ...heard(4, 5, 6)];
    expect(check([back, stays], published(6), upheaval)).toEqual([]);
  });

  test("a publish that nobody acknowledged, and one that is still on its way at the end", () => {
    const [first, second, ...rest] = published(6);
    const unknown = [first, { ...second, answeredAtMs: undefined }, ...rest] as Publishing[]; // all six are there
    expect(check([[subscribed(0), ...heard(1, 3, 4, 5)]], unknown)).toEqual([]);
  });

  test("a raw socket, between its first message and its end", () => {
    const told = [{ kind: "opened", atMs: 0 } as const, ...heard(2, 3), closed(4), ...heard(5, 6)];
    const upheaval = { ...calm, edgesGone: new Set(["iad-1"]) };
    const found = checkListeners([listening("r", told, "raw")], published(6), upheaval);
    expect(found.offences).toEqual([]);
    expect(found.totals).toMatchObject({ published: 6, acknowledged: 6, heard: 4, closed: 1 });
  });
});

describe("what is wrong is found", () => {
  test("a message is lost, as the others know", () => {
    expect(check([whole, [subscribed(0), ...heard(1, 2, 4, 5, 6)], whole])).toEqual(["lost c1 m3"]);
  });

  test("a message is lost for everybody, and was acknowledged", () => {
    expect(check([[subscribed(0), ...heard(1, 2, 4, 5, 6)]])).toEqual(["lost c0 m3"]);
  });

  test("a message comes twice: one after the other, later, and after a gap that was told", () => {
    expect(check([whole, [subscribed(0), ...heard(1, 2, 2, 3, 4, 5, 6)]])).toEqual(["repeated c1 m2"]);
    expect(check([whole, [subscribed(0), ...heard(1, 2, 3, 2, 4, 5, 6)]])).toEqual(["repeated c1 m2"]);
    const upheaval = { ...calm, losses: [{ object: "board/a", atMs: 230 }] };
    const old = [subscribed(0), ...heard(1, 2), subscribed(4.5, "h.2", false), ...heard(2, 5, 6)];
    expect(check([old], published(6), upheaval)).toContain("repeated c0 m2");
  });

  test("two messages are swapped, as the others know, and as those who published them know", () => {
    const swapped = [subscribed(0), ...heard(1, 3, 2, 4, 5, 6)];
    expect(check([whole, swapped, whole])).toEqual(["reordered c1 m2"]);
    expect(check([swapped])).toEqual(["reordered c0 m2"]);
    const together = published(6, { answeredAtMs: 1_000 });
    expect(check([whole, swapped, whole], together)).toEqual(["reordered c1 m2"]);
    const onOneLine = published(6, { answeredAtMs: undefined, line: "c1" });
    expect(check([swapped], onOneLine)).toEqual(["reordered c0 m2"]);
  });

  test("a message of another topic, and one that nobody published", () => {
    const [first, ...rest] = published(6);
    const strayed = [{ ...first, address: elsewhere }, ...rest] as Publishing[]; // all six are there
    expect(check([[subscribed(0), ...heard(2, 1, 3)]], strayed)).toContain("strayed c0 m1");
    expect(check([[subscribed(0), ...heard(1, 2, 3, 7)]])).toContain("invented c0 m7");
  });

  test("recovered: true, and messages are missing: heard by others, or only acknowledged", () => {
    const hole = [subscribed(0), ...heard(1, 2), subscribed(4.5, "h.2", true), ...heard(5, 6)];
    expect(check([whole, hole])).toEqual(["lost c1 m3", "lost c1 m4"]);
    expect(check([hole])).toEqual(["lost c0 m3", "lost c0 m4"]);
    const upheaval = { ...calm, losses: [{ object: "board/a", atMs: 230 }] };
    expect(check([hole], published(6), upheaval)).toEqual(["lost c0 m3", "lost c0 m4"]);
  });

  test("a gap for which there is no reason, and one of another object's", () => {
    const back = [subscribed(0), ...heard(1, 2), subscribed(3, "h.2", false), ...heard(3, 4, 5, 6)];
    expect(check([back])).toEqual(["needless c0 a"]);
    const upheaval = { ...calm, losses: [{ object: "board/b", atMs: 230 }] };
    expect(check([back], published(6), upheaval)).toEqual(["needless c0 a"]);
  });

  test("an answer to a resume that is none: without recovered, or from another position", () => {
    const silent = [subscribed(0), ...heard(1, 2), subscribed(3, "h.2"), ...heard(3, 4, 5, 6)];
    expect(check([silent])).toEqual(["strayed c0 does"]);
    const moved = { ...subscribed(3, "h.2", true), position: "h.1" } as Told; // still of that kind
    expect(check([[subscribed(0), ...heard(1, 2), moved, ...heard(3, 4, 5, 6)]])).toEqual([
      "strayed c0 goes",
    ]);
  });

  test("one position that is two messages", () => {
    const told = { kind: "message", atMs: 620, message: "m6", position: "h.5" } as const;
    expect(check([whole, [subscribed(0), ...heard(1, 2, 3, 4, 5), told]])).toEqual(["forked c1 h.5"]);
  });

  test("a subscription that is closed while its edge and its owner live", () => {
    expect(check([[...whole, closed(7, 1012)]])).toEqual(["closed c0 framed"]);
  });
});
