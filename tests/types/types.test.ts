import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";

const root = join(import.meta.dir, "../..");

test("the type tests are part of `bun run types`, which is part of `bun run check`", async () => {
  const { scripts } = await Bun.file(join(root, "package.json")).json();
  expect(scripts.types).toBe("tsc --noEmit");
  expect(scripts.check).toContain("bun run types");

  const tsc = join(root, "node_modules/.bin/tsc");
  const listed = await Bun.$`${tsc} --listFilesOnly`.cwd(root).text();
  const checked = listed.split("\n").filter((file) => file.includes("/tests/types/"));
  const written = (await readdir(import.meta.dir)).filter((file) => file.endsWith(".ts"));
  expect(checked.map((file) => basename(file)).toSorted()).toEqual(written.toSorted());
});

test("the type tests compile, and what they expect not to does not", async () => {
  const tsc = join(root, "node_modules/.bin/tsc");
  const { stdout, exitCode } = await Bun.$`${tsc} --noEmit -p tests/types`.cwd(root).quiet().nothrow();
  expect(stdout.toString()).toBe("");
  expect(exitCode).toBe(0);
});
