import { afterAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const root = join(import.meta.dir, "../..");
const cache = await mkdtemp(join(tmpdir(), "stateful-deno-"));
afterAll(() => rm(cache, { recursive: true }));

const textOf = (stream: ReadableStream) => new Response(stream).text();

/** Deno with the environment, which Elysia reads, and the project: no network, no other files, no processes. */
async function deno(...args: string[]): Promise<string> {
  const command = [
    process.execPath,
    "node_modules/deno/bin.cjs",
    "run",
    "--cached-only",
    "--no-prompt",
    "--allow-env",
    "--allow-read=.",
  ];
  const env = { ...process.env, DENO_DIR: cache, NO_COLOR: "1" };
  const run = Bun.spawn([...command, ...args], { cwd: root, env, stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([textOf(run.stdout), textOf(run.stderr)]);
  expect({ exitCode: await run.exited, errors }).toEqual({ exitCode: 0, errors: "" });
  return output;
}

test("every class in objects/ loads under Deno and answers there", async () => {
  const files = (await readdir(join(root, "objects"))).filter((file) => file.endsWith(".ts"));
  const urls = files.map((file) => pathToFileURL(join(root, "objects", file)).href);
  const answers = JSON.parse(await deno("tests/object/deno-visitor.ts", ...urls));

  expect(Object.keys(answers).toSorted()).toEqual(files.map((file) => file.replace(".ts", "")).toSorted());
  expect(answers.counter).toEqual({
    status: 200,
    type: "application/json",
    body: '{"count":0}',
    isSocketAccepted: true,
  });
  expect(JSON.parse(answers.room.body)).toEqual({ present: [] });
  expect(answers.room.isSocketAccepted).toBe(true);
  expect(JSON.parse(answers["rate-limiter"].body)).toEqual({ tokens: 10 });
  expect(answers.channel.status).toBe(404); // its onStart, which asks the database, is the host's to run
});
