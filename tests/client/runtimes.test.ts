import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ScriptedHost } from "./scripted-host.ts";
import { ServedHost } from "./served-host.ts";

const root = join(import.meta.dir, "../..");
const visitor = join(import.meta.dir, "visitor.ts");
const folder = await mkdtemp(join(tmpdir(), "stateful-client-"));
let host: ScriptedHost;
let served: ServedHost;

beforeAll(() => {
  host = new ScriptedHost("iad-1");
  served = new ServedHost(host, async (request) => {
    if (request.headers.get("authorization") !== "Bearer visitor") return new Response(null, { status: 401 });
    const { code } = await request.json();
    host.drop(code);
    return Response.json({ dropped: code });
  });
});
afterAll(async () => {
  await served.stop();
  await rm(folder, { recursive: true });
});

const visit = [
  "subscribed null",
  { from: "ann" },
  { from: "ann" },
  { data: { dropped: 1012 }, status: 200 },
  "subscribed true",
  { 0: 1, 1: 2, 2: 3 },
  [1, 2, 3],
].map((note) => (note === "subscribed null" ? "subscribed undefined" : note));

async function outputOf(command: readonly string[], env: Record<string, string> = {}): Promise<unknown> {
  const run = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors] = await Promise.all(
    [run.stdout, run.stderr].map((stream) => new Response(stream).text()),
  );
  const exitCode = await run.exited;
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${errors}`);
  return JSON.parse(output ?? "");
}

test("C12 the client loads under Deno from its source, and talks to a host there", async () => {
  const deno = [process.execPath, "node_modules/deno/bin.cjs", "run", "--cached-only", "--no-prompt"];
  const rights = ["--allow-read=.", `--allow-net=${new URL(served.url).host}`];
  expect(await outputOf([...deno, ...rights, visitor, served.url], { DENO_DIR: folder })).toEqual(visit);
});

async function forNode(): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [visitor],
    target: "node",
    external: ["ws"],
    outdir: join(root, "node_modules", ".cache", "stateful-client"),
    naming: "[name]-[hash].mjs",
  });
  return outputs[0]?.path ?? "";
}

test("C12 the client loads under Node, and talks to a host there with the WebSocket that it is given", async () => {
  expect(await outputOf(["node", await forNode(), served.url, "ws"])).toEqual(visit);
});

test("C12 the client takes the WebSocket that Node has, and says what to do where it has none", async () => {
  const [major = 0] = (await Bun.$`node --version`.text()).slice(1).split(".").map(Number);
  const flags = major < 22 ? ["--experimental-websocket", "--no-warnings"] : [];
  expect(await outputOf(["node", ...flags, await forNode(), served.url])).toEqual(visit);
  const without = major < 22 ? [] : ["--no-experimental-websocket"];
  expect(await outputOf(["node", ...without, await forNode(), served.url])).toEqual([
    expect.stringContaining("There is no global WebSocket"),
  ]);
});
