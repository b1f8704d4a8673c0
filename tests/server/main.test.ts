import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCluster } from "../support/cluster.ts";
import { freePort } from "../support/sqld.ts";
import { until } from "../support/wait.ts";
import { object } from "stateful-objects";

const root = join(import.meta.dir, "../..");
let host: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
let folder: string | undefined;
afterEach(async () => {
  host?.kill("SIGKILL");
  await host?.exited;
  if (folder) await rm(folder, { recursive: true, force: true });
});

const stray = `
import { object } from "${root}/infra/object/index.ts";
export default object("stray", { state: () => ({ calls: 0 }) })
  .get("/", ({ state }) => { state.calls += 1; void Promise.reject(new Error("forgotten")); return state; })
  .get("/later", () => { setTimeout(() => { throw new Error("too late"); }, 0); return "soon"; });
`;

test("O3 errors that nobody waits for are logged, and the process goes on with its objects until SIGTERM", async () => {
  folder = await mkdtemp(join(tmpdir(), "stateful-main-"));
  await Bun.write(join(folder, "objects/stray.ts"), stray);
  const port = await freePort();
  host = Bun.spawn([process.execPath, "apps/server/main.ts"], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: {
      ...process.env,
      PORT: String(port),
      STATEFUL_BIND: "127.0.0.1",
      STATEFUL_OBJECTS: join(folder, "objects"),
      LIBSQL_URL: `file:${join(folder, "directory.db")}`,
      CLUSTER_SECRET: "a-secret-that-only-tests-use",
    },
  });
  const output = new Response(host.stdout).text();
  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${port}/stray/a${path}`)).text();
  await until(
    "the host answers",
    () =>
      ask("/").then(
        (text) => text.includes("calls"),
        () => false,
      ),
    15_000,
  );
  await ask("/later");
  const { calls } = JSON.parse(await ask("/"));
  expect(calls).toBeGreaterThan(1);
  host.kill("SIGTERM");
  expect(await host.exited).toBe(0);
  const events = (await output)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const messages = events.filter(({ level }) => level === "error").map(({ error }) => error.message);
  expect(messages).toContain("forgotten");
  expect(messages).toContain("too late");
  expect(events.at(-1)).toMatchObject({ event: "host.stopped" });
}, 30_000);

test("a resource that never closes does not keep a host from stopping", async () => {
  const pool = () => ({ close: () => new Promise(() => undefined) });
  const keeper = object("keeper", { resources: { pool } }).get(
    "/",
    ({ host: { resources } }) => typeof resources.pool,
  );
  const cluster = await startCluster({ classes: [keeper], regions: ["iad"] });
  expect(await (await fetch(cluster.url("iad", "/keeper/a"))).text()).toBe("object");
  await cluster.stop();
  const failed = cluster.entries.filter(({ event }) => event === "stop.step_failed");
  expect(failed.map(({ fields }) => fields.step)).toEqual(["resources"]);
  expect(cluster.entries.at(-1)).toMatchObject({ event: "host.stopped" });
}, 20_000);
