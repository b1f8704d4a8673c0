import { describe, expect, test } from "bun:test";
import { type Connection, crash, type Heard, nothingMayHappen, plannedMove } from "./conversation.ts";
import type { Told } from "./objects/_talk.ts";
import type { OffenceKind } from "./offence.ts";
import { checkTalk } from "./talk-check.ts";

/** What a made-up connection sent, and what it heard in this order; times follow from the places. */
interface Script {
  readonly client?: string;
  readonly edge?: string;
  readonly atMs?: number;
  readonly sent?: readonly number[];
  readonly heard: readonly Told[];
  readonly closed?: number;
}

function connection({
  client = "a",
  edge = "iad-1",
  atMs = 0,
  sent = [],
  heard,
  closed,
}: Script): Connection {
  return {
    ...{ client, edge, dialledAtMs: atMs },
    sent: sent.map((n, index) => ({ n, atMs: atMs + index })),
    heard: heard.map((told, index): Heard => ({ ...told, atMs: atMs + index + 1 })),
    closing: closed === undefined ? undefined : { code: closed, reason: "", atMs: atMs + 1_000 },
  };
}

function welcome(number: number, life = "l1"): Told {
  return { kind: "welcome", life, number, owner: "iad-1" };
}

/** `said("a", 1, 10)`: the topic has message 1 of client a, which is number 10. */
function said(client: string, n: number, number: number, life = "l1", owner = "iad-1"): Told {
  return { kind: "said", client, n, life, number, owner };
}

function echo(client: string, n: number, number: number, life = "l1"): Told {
  return { kind: "echo", client, n, life, number, owner: "iad-1" };
}

function kinds(scripts: readonly Script[], allowed = nothingMayHappen, isSettled = true): OffenceKind[] {
  return checkTalk(scripts.map(connection), allowed, isSettled).offences.map(({ kind }) => kind);
}

/** Three messages of client a, all as they should be. */
const right: Script = {
  sent: [1, 2, 3],
  heard: [welcome(0), ...[1, 2, 3].flatMap((n) => [said("a", n, n), echo("a", n, n)])],
};

function without(script: Script, leaves: (told: Told) => boolean): Script {
  return { ...script, heard: script.heard.filter((told) => !leaves(told)) };
}

test("what is as it should be is no offence", () => {
  const listener = { client: "b", heard: [welcome(1), said("a", 2, 2), said("a", 3, 3)], atMs: 2 };
  const { offences, totals } = checkTalk([right, listener].map(connection), nothingMayHappen);
  expect(offences).toEqual([]);
  expect(totals).toMatchObject({
    sent: 3,
    answered: 3,
    lost: 0,
    topicHeard: 5,
    topicMissing: 0,
    connections: 2,
  });
});

describe("answers", () => {
  const lacks = (n: number) => without(right, (told) => told.kind === "echo" && told.n === n);

  test("one that is missing in the middle is lost", () => {
    expect(kinds([lacks(2)])).toEqual(["lost"]);
  });

  test("the last one missing is lost where the socket stayed open, and unknown where it was closed", () => {
    expect(kinds([lacks(3)])).toEqual(["lost"]);
    const closed = { ...lacks(3), closed: 1012 };
    expect(kinds([closed], plannedMove(["iad-1"]))).toEqual([]);
    expect(checkTalk([connection(closed)], plannedMove(["iad-1"])).totals).toMatchObject({
      lost: 0,
      unknown: 1,
    });
  });

  test("one missing before the last is lost also where the socket was closed", () => {
    expect(kinds([{ ...lacks(2), closed: 1012 }], plannedMove(["iad-1"]))).toEqual(["lost"]);
  });

  test("a crash explains as many gaps as there were faults, and no more", () => {
    const sent = [1, 2, 3, 4, 5];
    const heard = [welcome(0), ...[1, 3, 5].flatMap((n, at) => [said("a", n, at + 1), echo("a", n, at + 1)])];
    expect(kinds([{ sent, heard }], crash(2, 1, []))).toEqual([]);
    expect(kinds([{ sent, heard }], crash(1, 1, []))).toEqual(["lost", "lost"]);
  });

  test("one that comes twice is repeated, also after a crash", () => {
    const again = { ...right, heard: [...right.heard, echo("a", 3, 3)] };
    expect(kinds([again])).toEqual(["repeated"]);
    expect(kinds([again], crash(1, 2, []))).toEqual(["repeated"]);
  });

  test("one that is overtaken is reordered, also after a crash", () => {
    const heard = [
      welcome(0),
      ...[1, 2, 3].map((n) => said("a", n, n)),
      echo("a", 2, 2),
      echo("a", 1, 1),
      echo("a", 3, 3),
    ];
    expect(kinds([{ sent: [1, 2, 3], heard }])).toEqual(["reordered"]);
    expect(kinds([{ sent: [1, 2, 3], heard }], crash(1, 2, []))).toEqual(["reordered"]);
  });

  test("one to what was never sent, or not by this client, is told", () => {
    expect(kinds([{ ...right, sent: [1, 2] }])).toEqual(["invented"]);
    const heard = [...right.heard, said("b", 1, 4), echo("b", 1, 4)];
    expect(kinds([{ ...right, heard }])).toContain("strayed");
  });

  test("one that comes on the next connection is not an answer to what was sent on the last", () => {
    const first = { sent: [1], heard: [welcome(0)], closed: 1012 };
    const second = { atMs: 2_000, heard: [welcome(0), said("a", 1, 1), echo("a", 1, 1)] };
    expect(kinds([first, second], plannedMove(["iad-1"]))).toEqual(["invented"]);
  });
});

describe("the topic", () => {
  const lacks = (n: number) => without(right, (told) => told.kind === "said" && told.n === n);

  test("one missing after the welcome, in the middle or at the end is lost", () => {
    for (const n of [1, 2, 3]) expect(kinds([lacks(n)])).toEqual(["lost"]);
  });

  test("one missing at the end is not counted where nobody has waited for it, or the socket was closed", () => {
    const ends = { client: "b", heard: [welcome(0), said("a", 1, 1)] };
    expect(kinds([right, ends])).toEqual(["lost"]);
    expect(kinds([right, ends], nothingMayHappen, false)).toEqual([]);
    expect(kinds([right, { ...ends, closed: 1012 }], plannedMove(["iad-1"]))).toEqual([]);
  });

  test("a crash explains one gap and not two", () => {
    const heard = [welcome(0), said("a", 1, 1), said("a", 3, 3), said("a", 5, 5)];
    expect(kinds([{ client: "b", heard: heard.slice(0, 3) }], crash(1, 1, []))).toEqual([]);
    expect(kinds([{ client: "b", heard }], crash(1, 1, []))).toEqual(["lost", "lost"]);
  });

  test("one that comes twice is repeated, one that comes late is reordered, also after a crash", () => {
    const twice = { client: "b", heard: [welcome(0), said("a", 1, 1), said("a", 1, 1)] };
    expect(kinds([twice])).toEqual(["repeated"]);
    expect(kinds([twice], crash(1, 2, []))).toEqual(["repeated"]);
    const late = { client: "b", heard: [welcome(0), said("a", 2, 2), said("a", 1, 1)] };
    expect(kinds([late], crash(1, 2, []))).toEqual(["reordered"]);
  });

  test("one from before the welcome is reordered", () => {
    expect(kinds([{ client: "b", heard: [welcome(5), said("a", 5, 5)] }])).toEqual(["reordered"]);
  });
});

describe("all connections together", () => {
  test("a socket that is closed is an offence, unless its edge may close it with that code", () => {
    const closed = { ...right, closed: 1012 };
    expect(kinds([closed])).toEqual(["closed"]);
    expect(kinds([closed], plannedMove(["ams-1"]))).toEqual(["closed"]);
    expect(kinds([closed], plannedMove(["iad-1"]))).toEqual([]);
    expect(kinds([{ ...right, closed: 1006 }], plannedMove(["iad-1"]))).toEqual(["closed"]);
    expect(kinds([{ ...right, closed: 1006 }], crash(1, 1, [{ edge: "any", codes: [1006] }]))).toEqual([]);
  });

  test("one number that is two messages is a fork, whatever happened", () => {
    const a = { client: "a", heard: [welcome(0), said("a", 1, 1, "l1", "iad-1")] };
    const b = { client: "b", heard: [welcome(0), said("b", 1, 1, "l1", "ams-1")] };
    expect(kinds([a, b], crash(9, 9, []))).toEqual(["forked"]);
  });

  test("one message that has two numbers was handled twice, whatever happened", () => {
    const heard = [welcome(0), said("a", 1, 1), said("a", 1, 2)];
    expect(kinds([{ client: "b", heard }], crash(9, 9, []))).toEqual(["repeated"]);
    const lives = [welcome(0), said("a", 1, 1), said("a", 1, 1, "l2")];
    expect(kinds([{ client: "b", heard: lives }], crash(9, 9, []))).toEqual(["repeated"]);
  });

  test("a state that was made anew is told, unless a crash may have taken it", () => {
    const heard = [welcome(0), said("b", 1, 1), said("b", 2, 1, "l2")];
    expect(kinds([{ heard }], nothingMayHappen)).toEqual(["restarted"]);
    expect(kinds([{ heard }], crash(1, 2, []))).toEqual([]);
  });

  test("a life that comes back after the next one has begun is a fork", () => {
    const heard = [welcome(0), said("b", 1, 1), said("b", 2, 1, "l2"), said("b", 3, 2)];
    expect(kinds([{ heard }], crash(1, 2, []))).toContain("forked");
  });

  test("whoever is welcomed at less than somebody had heard of sees a state that went back", () => {
    const late = { client: "b", atMs: 100, heard: [welcome(2), said("c", 1, 3)] };
    expect(kinds([right, late], crash(1, 1, []))).toContain("rolled back");
    // Dialled before the others had heard of it: that is no going back.
    expect(kinds([right, { client: "b", atMs: 0, heard: [welcome(0)] }], crash(1, 1, []))).toEqual([]);
  });

  test("the report names the client, the edge, what was expected and what was seen", () => {
    const [offence] = checkTalk(
      [connection(without(right, (told) => told.kind === "echo" && told.n === 2))],
      nothingMayHappen,
    ).offences;
    expect(offence?.client).toBe("a");
    expect(offence?.text).toBe(
      "at iad-1, 2 were never answered (1 gaps, 0 allowed); sent 1 [2] 3; answers seen [1] 3",
    );
  });

  test("changes of owner and pauses are counted", () => {
    const heard = [welcome(0), said("a", 1, 1), said("a", 2, 2, "l1", "ams-1"), said("a", 3, 3)];
    expect(checkTalk([connection({ client: "b", heard })], nothingMayHappen).totals.ownerChanges).toBe(2);
    expect(checkTalk([connection(right)], nothingMayHappen).totals.pausesMs).toEqual([2]);
  });
});
