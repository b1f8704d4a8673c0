import { afterEach, expect, test } from "bun:test";
import { configFromEnvironment, type RunningHost, startHost } from "../../apps/server/index.ts";
import { MemoryDirectory } from "../../infra/lease/memory-directory.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { object } from "stateful-objects";
import { HeldDirectory } from "../support/held-directory.ts";
import { until } from "../support/wait.ts";

const placementBudgetMs = 200;
const gates = new Map<string, PromiseWithResolvers<void>>();
function gate(id: string): PromiseWithResolvers<void> {
  const known = gates.get(id) ?? Promise.withResolvers<void>();
  gates.set(id, known);
  return known;
}

const quick = object("quick").get("/", () => "served");
const slow = object("slow", { onStart: ({ objectId }) => gate(objectId).promise }).get("/", () => "started");

let host: RunningHost | undefined;
afterEach(async () => {
  for (const { resolve } of gates.values()) resolve();
  await host?.stop();
});

async function start(directory: HeldDirectory): Promise<(path: string) => Promise<Response>> {
  const environment = { PORT: "0", CLUSTER_SECRET: "a-secret-that-only-tests-use" };
  const config = { ...configFromEnvironment(environment), placementBudgetMs, region: "iad", hostId: "one" };
  const running = await startHost(config, { classes: [quick, slow], directory, log: silentLog });
  host = running;
  return (path) => fetch(`http://localhost:${running.port}${path}`);
}

test("E11 a directory that does not answer is 503 when the budget is used up, and says what was waited for", async () => {
  const directory = new HeldDirectory(new MemoryDirectory(systemClock));
  const ask = await start(directory);
  const flow = Promise.withResolvers<void>();
  directory.request = (call) => (call === "commit" ? flow.promise : Promise.resolve());
  // Well below the limit that the primary itself is given.
  const response = await until("it is answered", () => ask("/quick/a"), 3_000);
  const problem = await response.json();
  expect([response.status, problem.code, problem.retryable]).toEqual([503, "directory_unavailable", true]);
  expect(problem.detail).toBe(
    "No host for quick/a was found within 200 ms: the directory's primary, asked for the object's lease, has not answered.",
  );
  expect(response.headers.get("retry-after")).toBe("1");
  flow.resolve();
  await until("it is served", async () => (await ask("/quick/a")).status === 200);
});

test("E11 an onStart that takes longer than the budget is waited for", async () => {
  const ask = await start(new HeldDirectory(new MemoryDirectory(systemClock)));
  const startedAtMs = performance.now();
  const asked = ask("/slow/a");
  await until(
    "the budget is used up three times",
    () => performance.now() - startedAtMs > 3 * placementBudgetMs,
  );
  gate("a").resolve();
  const response = await asked;
  expect([response.status, await response.text()]).toEqual([200, "started"]);
});
