import { afterEach, expect, test } from "bun:test";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What `.ci/run` makes of what the check says: its last line, and its exit code. The check is a program that says it. */
const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function ran(checkSays: string, checkEndsWith = 0) {
  const folder = await mkdtemp(join(tmpdir(), "ci-"));
  folders.push(folder);
  await Bun.write(join(folder, "said"), checkSays);
  const check = join(folder, "npx");
  await Bun.write(check, `#!/bin/sh\ncat '${join(folder, "said")}'\nexit ${checkEndsWith}\n`);
  await chmod(check, 0o755);
  const child = Bun.spawn(["bash", join(import.meta.dir, "../.ci/run")], {
    stdio: ["ignore", "pipe", "pipe"],
    // A browser that is there already: nothing is to be installed.
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, CHROMIUM: process.execPath },
  });
  const [out, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  return { last: out.trimEnd().split("\n").at(-1), code };
}

const run = (pass: number, fail: number) => `
 ${pass} pass
 3 skip
 ${fail} fail
 1 snapshots, 120 expect() calls
Ran ${pass + fail + 3} tests across 2 files. [1.50s]
`;

test("the last line sums what the runs of tests came to, and nothing that a test has printed", async () => {
  const printed = " 700 pass\n 800 fail\nRan out of room.\n 900 pass\n(pass) a test that prints\n";
  const says = `${printed}${run(12, 0)}\x1b[32m 40 pass\x1b[0m\n${run(5, 0)} 70 pass\n`;
  expect(await ran(says)).toEqual({ last: "17 passed, 0 failed", code: 0 });
});

test("what failed is counted, with the exit code of the check", async () => {
  expect(await ran(`${run(12, 2)}${run(5, 1)}`, 1)).toEqual({ last: "17 passed, 3 failed", code: 1 });
});

test("a check that fails outside of the tests has failed once", async () => {
  expect(await ran("Formatter would have printed the following content", 1)).toEqual({
    last: "0 passed, 1 failed",
    code: 1,
  });
});
