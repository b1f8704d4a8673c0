import { expect, test } from "bun:test";
import { shortfalls } from "./scenario-run.ts";

test("a load that did less than it is meant to has not come about", () => {
  expect(shortfalls({ "101": 20, "read, MiB": 4 }, { "101": 20, "read, MiB": 4.5, lost: 1 })).toEqual([]);
  expect(shortfalls({ "101": 20, "read, MiB": 4 }, { "101": 19 })).toEqual([
    "the load did not come about: 101 is 19, and must be 20",
    "the load did not come about: read, MiB is 0, and must be 4",
  ]);
  // A figure that could not be measured is none.
  expect(shortfalls({ heard: 1 }, { heard: Number.NaN })).toHaveLength(1);
});
