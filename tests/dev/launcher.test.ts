import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launcherOf } from "../../apps/dev/launcher.ts";
import { until } from "../support/wait.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "launcher-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a process that was started by a script runner hears when that one is killed", async () => {
  const child = join(folder, "child.ts");
  const launcher = join(import.meta.dir, "../../apps/dev/launcher.ts");
  await writeFile(
    child,
    `import { launcherOf, watchLauncher } from ${JSON.stringify(launcher)};
     watchLauncher(launcherOf(true), async () => {
       await Bun.write("gone", "");
       process.exit();
     });
     await Bun.write("started", "");`,
  );
  // The second command keeps the shell from becoming the first.
  const shell = Bun.spawn(["sh", "-c", `"$0" child.ts; true`, process.execPath], { cwd: folder });
  await until("the child runs", () => Bun.file(join(folder, "started")).exists());
  shell.kill("SIGKILL");
  await until("the child hears it", () => Bun.file(join(folder, "gone")).exists());
});

test("who was started by a person's own shell may outlive it", () => {
  expect(launcherOf(false).isGone()).toBeFalse();
  expect(launcherOf(true).isGone()).toBeFalse();
});
