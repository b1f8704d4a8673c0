import { expect, test } from "bun:test";
import { deliberateBugs } from "./bugs/deliberate-bugs.ts";
import { type BugSearch, findBug } from "./bugs/find-bug.ts";
import { withChanges } from "./bugs/apply-bug.ts";
import { tellTrust } from "../support/trust-line.ts";

/** Runs from its seed on within which each bug is found. The seeds are near to where that was; the product may move them. */
const runsMax = 40;
const processes = 2;

test(`each deliberate bug is found within ${runsMax} runs, by a check that is there for it`, async () => {
  const queue = deliberateBugs.values();
  const searches: BugSearch[] = [];
  const work = async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next())
      searches.push(await findBug(next.value, next.value.seed, runsMax));
  };
  await Promise.all(Array.from({ length: processes }, work));
  const found = searches.filter(({ runs }) => runs !== undefined);
  for (const line of tableOf(searches)) console.log(line);
  const byCheck = Map.groupBy(found, ({ violation }) => violation?.kind ?? "");
  tellTrust("deliberate bugs", {
    found: `${found.length} of ${deliberateBugs.length}`,
    "in their first run": found.filter(({ runs }) => runs === 1).length,
    "by check": Object.fromEntries(Array.from(byCheck, ([kind, some]) => [kind, some.length])),
  });
  expect(searches.filter(({ runs }) => runs === undefined).map(({ bug }) => bug.name)).toEqual([]);
}, 300_000);

/** By which check each was found, when, and what else there was to see. */
function tableOf(searches: readonly BugSearch[]): string[] {
  const rows = searches.map(({ bug, runs, seed, violation, kinds }) => [
    bug.rule,
    bug.name,
    violation?.kind ?? `not found by ${bug.foundBy.join(" or ")}`,
    runs === undefined ? "" : `run ${runs}, seed ${seed}`,
    [...kinds].filter((kind) => kind !== violation?.kind).join(", "),
    violation?.what.slice(0, 100) ?? "",
  ]);
  const all = [["rule", "deliberate bug", "found by", "in", "also seen", "as"], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

test("a deliberate bug whose place is gone says so", () => {
  expect(() => withChanges("a b a", [["a", "c"]], "file.ts")).toThrow("2 times, not once");
  expect(() => withChanges("b", [["a", "c"]], "file.ts")).toThrow("0 times, not once");
  expect(withChanges("a b", [["a", "c"]], "file.ts")).toBe("c b");
});
