import { expect, test } from "bun:test";
import { deliberateBugs } from "./bugs/deliberate-bugs.ts";
import { type BugSearch, findBug } from "./bugs/find-bug.ts";
import { withChanges } from "./bugs/apply-bug.ts";

/** Runs from its seed on within which each bug is found. The seeds are near to where that was; the product may move them. */
const runsMax = 40;
const processes = 2;

test(`each deliberate bug is found within ${runsMax} runs`, async () => {
  const queue = deliberateBugs.values();
  const searches: BugSearch[] = [];
  const work = async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next())
      searches.push(await findBug(next.value, next.value.seed, runsMax));
  };
  await Promise.all(Array.from({ length: processes }, work));
  const found = searches.filter(({ runs }) => runs !== undefined);
  for (const { name, seed, runs, violation } of found)
    console.log(`found after ${runs} runs, seed ${seed}: ${name} → ${violation?.slice(0, 120)}`);
  console.log(`found ${found.length} of ${deliberateBugs.length}`);
  expect(searches.filter(({ runs }) => runs === undefined).map(({ name }) => name)).toEqual([]);
}, 300_000);

test("a deliberate bug whose place is gone says so", () => {
  expect(() => withChanges("a b a", [["a", "c"]], "file.ts")).toThrow("2 times, not once");
  expect(() => withChanges("b", [["a", "c"]], "file.ts")).toThrow("0 times, not once");
  expect(withChanges("a b", [["a", "c"]], "file.ts")).toBe("c b");
});
