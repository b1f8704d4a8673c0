import { afterEach, expect, test } from "bun:test";
import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../support/wait.ts";

/** What needs no directory; `tests/e2e/supervisor.test.ts` has the rest. */
const root = join(import.meta.dir, "../..");
let supervisor: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
let folder: string | undefined;
afterEach(async () => {
  supervisor?.kill("SIGKILL");
  await supervisor?.exited;
  if (folder) await rm(folder, { recursive: true, force: true });
});

function supervise(command: string, env: Record<string, string> = {}) {
  const started = Bun.spawn([process.execPath, "apps/server/supervisor.ts", command], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  supervisor = started;
  return started;
}

/** The log so far, kept up to date. */
function logOf(stdout: ReadableStream<Uint8Array>): { text: string } {
  const log = { text: "" };
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of stdout) log.text += decoder.decode(chunk, { stream: true });
  })();
  return log;
}

test("a host that cannot even be started is told by the exit code, as a shell does", async () => {
  const { exited } = supervise("/does/not/exist");
  expect(await exited).toBe(127);
});

test("STATEFUL_RESTART=1 tries again where a host cannot be started, as while memory is short", async () => {
  folder = await mkdtemp(join(tmpdir(), "stateful-supervisor-"));
  const command = join(folder, "host");
  const running = supervise(command, { STATEFUL_RESTART: "1" });
  const log = logOf(running.stdout);
  await until("it was tried", () => log.text.includes("supervisor.child_not_started"), 10_000);
  await Bun.write(`${command}.new`, "#!/bin/sh\nexit 7\n");
  await chmod(`${command}.new`, 0o755);
  await rename(`${command}.new`, command);
  await until("the host has run", () => log.text.includes('"exitCode":7'), 20_000);
  running.kill("SIGTERM");
  expect(await running.exited).toBe(7);
}, 40_000);
