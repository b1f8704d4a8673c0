import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, unlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { filesConcerned } from "../../apps/dev/class-imports.ts";
import { type FolderChange, ObjectsWatch, type ObjectsWatchSetup } from "../../apps/dev/objects-watch.ts";
import { until } from "../support/wait.ts";

let folder: string;
let watch: ObjectsWatch;
let changes: FolderChange[];
let troubles: unknown[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "objects-"));
  await write("counter.ts", "1");
  await write("_shared.ts", "1");
  changes = [];
  troubles = [];
  watch = await ObjectsWatch.begin(setup());
});

afterEach(async () => {
  watch.close();
  await rm(folder, { recursive: true, force: true });
});

function setup(): ObjectsWatchSetup {
  return {
    folder,
    changed: (change) => void changes.push(change),
    unreadable: (error) => troubles.push(error),
  };
}

const write = (name: string, text: string) => writeFile(join(folder, name), text);
const nothing: FolderChange = { changed: [], removed: [], shared: [] };

function nextChange(what: string): Promise<FolderChange> {
  return until(what, () => changes.shift());
}

test("a changed file, a new one and a deleted one", async () => {
  watch.follow();
  await write("counter.ts", "2");
  expect(await nextChange("the changed file")).toEqual({ ...nothing, changed: ["counter.ts"] });
  await write("room.ts", "1");
  expect(await nextChange("the new file")).toEqual({ ...nothing, changed: ["room.ts"] });
  await unlink(join(folder, "counter.ts"));
  expect(await nextChange("the deleted file")).toEqual({ ...nothing, removed: ["counter.ts"] });
});

test("an editor that writes beside and renames changes one file, and deletes none", async () => {
  watch.follow();
  await write("counter.ts.tmp", "2");
  await rename(join(folder, "counter.ts"), join(folder, "counter.ts~"));
  await rename(join(folder, "counter.ts.tmp"), join(folder, "counter.ts"));
  expect(await nextChange("the saved file")).toEqual({ ...nothing, changed: ["counter.ts"] });
  expect(changes).toEqual([]);
});

test("an editor that empties or deletes a file before it writes is waited for", async () => {
  watch.close();
  watch = await ObjectsWatch.begin({ ...setup(), quietWhenGoneMs: 60_000 });
  watch.follow();
  await write("counter.ts", "");
  await write("room.ts", "1");
  expect(await nextChange("the new file, told after a look at the empty one")).toMatchObject({
    changed: ["room.ts"],
  });
  await unlink(join(folder, "counter.ts"));
  await write("room.ts", "2");
  expect(await nextChange("the other file, told after a look at the deleted one")).toMatchObject({
    removed: [],
  });
  await write("counter.ts", "2");
  expect(await nextChange("the saved file")).toEqual({ ...nothing, changed: ["counter.ts"] });
});

test("a touched file has not changed", async () => {
  watch.follow();
  await utimes(join(folder, "counter.ts"), new Date(), new Date());
  await write("room.ts", "1");
  expect(await nextChange("the new file")).toEqual({ ...nothing, changed: ["room.ts"] });
});

test("what classes import is told apart from classes", async () => {
  watch.follow();
  await mkdir(join(folder, "parts"));
  await write("parts/one.ts", "1");
  await write("_shared.ts", "2");
  const shared: string[] = [];
  await until("both files", () => {
    shared.push(...changes.splice(0).flatMap((change) => change.shared));
    return shared.length === 2;
  });
  expect(shared.sort()).toEqual(["_shared.ts", join("parts", "one.ts")]);
});

test("a change between begin and follow is not lost", async () => {
  await write("counter.ts", "2");
  watch.follow();
  expect(await nextChange("the changed file")).toEqual({ ...nothing, changed: ["counter.ts"] });
});

test("a folder that goes away is said once, deletes nothing, and is followed again when it is back", async () => {
  watch.follow();
  await rename(folder, `${folder}-away`);
  await until("the trouble", () => troubles.length > 0);
  await rename(`${folder}-away`, folder);
  await write("counter.ts", "2");
  expect(await nextChange("the changed file")).toEqual({ ...nothing, changed: ["counter.ts"] });
  expect(troubles).toHaveLength(1);
});

test("a changed file concerns whoever imports it, over any number of steps", async () => {
  await write("room.ts", 'import { a } from "./_a.ts";\nexport default a;');
  await write("_a.ts", 'import { b } from "./_b";\nexport const a = b;');
  await write("_b.ts", "export const b = 1;");
  await write("other.ts", 'import type { a } from "./_a.ts";\nexport default 1;');
  const concerned = await filesConcerned(folder, ["room.ts", "other.ts", "counter.ts"], ["_b.ts"]);
  expect([...concerned].sort()).toEqual(["_a.ts", "_b.ts", "room.ts"]);
});

test("a file that was missing concerns whoever tried to import it", async () => {
  await write("room.ts", 'import { a } from "./_new.ts";\nexport default a;');
  const concerned = await filesConcerned(folder, ["room.ts"], ["_new.ts"]);
  expect([...concerned].sort()).toEqual(["_new.ts", "room.ts"]);
});
