import { expect, test } from "bun:test";
import { checkPresence, namesIn, type PresenceTold } from "./presence-check.ts";

const address = "board/a/-/topics/wall";
const [ann, bob, cid] = ["ann", "bob", "cid"].map((name) => ({ id: `c-${name}`, data: name }));
const all = [ann, bob].flatMap((member) => member ?? []);
const come: PresenceTold = { count: 3, joined: cid ? [cid] : [], left: [] };

function offences(told: readonly PresenceTold[], names: readonly string[]): string[] {
  const found = checkPresence([{ listener: "w", address, told }], new Map([[address, names]]));
  return found.map(({ kind, text }) => `${kind}: ${text.slice(address.length + 2)}`);
}

test("what is told adds up", () => {
  const told = [{ count: 2, members: all }, come, { count: 2, joined: [], left: ["c-bob"] }];
  expect(namesIn(told)).toEqual(["ann", "cid"]);
  expect(namesIn([...told, { count: 2, members: all }])).toEqual(["ann", "bob"]);
  expect(offences(told, ["cid", "ann"])).toEqual([]);
});

test("one who is missing, one who is gone, and one who is there twice are found", () => {
  const told = [{ count: 2, members: all }];
  expect(offences(told, ["ann", "bob", "cid"])).toEqual([
    "absent: 2 are there of 3; missing: cid; too many: none",
  ]);
  expect(offences([...told, come], ["ann", "bob"])).toEqual([
    "absent: 3 are there of 2; missing: none; too many: cid",
  ]);
  const again = { count: 3, joined: [{ id: "other", data: "ann" }], left: [] };
  expect(offences([...told, again], ["ann", "bob"])).toEqual([
    "absent: 3 are there of 2; missing: none; too many: ann",
  ]);
});

test("a count that is not that of the list is found, and a watcher who was told nothing", () => {
  expect(offences([{ count: 7, members: all }], ["ann", "bob"])).toHaveLength(1);
  expect(offences([], ["ann", "bob"])).toHaveLength(1);
});
