import type { LoadStage, Scenario } from "../scenario.ts";
import { until } from "../../support/wait.ts";

/** What an object takes that is awake, as `bun run bench --only object-memory` measures it, with its row of the lease, and twice that. */
const bytesPerObject = 4 * 1024;
const objectsMax = 100_000;
/** A machine that is slower than that asks fewer: the run says how many. */
const askForMs = 240_000;

async function ask(stage: LoadStage, line: string, count: number): Promise<void> {
  const repeats = ["host_full", "no_eligible_host", "queue_full", "storage_backlog"];
  const forMs = askForMs;
  const connections = stage.size(1000, 64);
  const attack = await stage.attack({ kind: "requests", connections, count, line, repeats, forMs });
  const { figures } = await attack.done(forMs + 60_000);
  stage.figure("ids", figures.answered ?? 0);
  stage.figure("a second", figures.perSecond ?? 0);
  stage.figure("p99, ms", figures.p99Ms ?? 0);
}

const awake = async (stage: LoadStage) => (await stage.host.metrics()).stateful_objects_awake ?? 0;

/** Resolves when no more objects are awake than before. */
async function letGo(stage: LoadStage, before: number): Promise<void> {
  const startMs = performance.now();
  const idle = async () => (await awake(stage)) <= before;
  await until("the objects are let go", idle, 60_000);
  stage.figure("let go after, s", (performance.now() - startMs) / 1000);
}

const growth = (stage: LoadStage) => ({
  mebibytes: Math.round((stage.size(objectsMax, 1000) * bytesPerObject) / 1024 / 1024) + 192,
  because:
    "100,000 objects (STATEFUL_OBJECTS_MAX) at 4 KiB, 100,000 remembered owners (STATEFUL_ROUTE_CACHE_MAX), and the directory's own cache",
});
const answers = ["200", "503 host_full", "503 no_eligible_host", "429 queue_full", "503 storage_backlog"];

/** A million objects that are asked once. */
export const idsInMemory: Scenario = {
  name: "ids-memory",
  about: "a request to each of a million objects that forget, 100,000 of which may be awake",
  env: { STATEFUL_OBJECTS_MAX: String(objectsMax) },
  expected: answers,
  floors: ({ size }) => ({ "200": size(50_000, 200) }),
  growth,
  bystanderP99Ms: 1500,
  async run(stage) {
    const before = await awake(stage);
    await ask(stage, "GET /memo/object-{n}", stage.size(1_000_000, 300));
    await letGo(stage, before);
  },
  serves: async (stage) => (await stage.ask("/memo/object-1")).ok,
  recoveryLimitMs: 5000,
};

/** … and as many that store something. */
export const idsStored: Scenario = {
  name: "ids-stored",
  about: "a write to each of a million objects that remember, 100,000 of which may be awake",
  env: { STATEFUL_OBJECTS_MAX: String(objectsMax) },
  expected: answers,
  floors: ({ size }) => ({ "200": size(20_000, 300) }),
  growth,
  bystanderP99Ms: 1500,
  async run(stage) {
    const before = await awake(stage);
    await ask(stage, "POST /ledger/object-{n}/add", stage.size(1_000_000, 500));
    await letGo(stage, before);
  },
  serves: async (stage) => (await stage.ask("/ledger/object-1")).ok,
  recoveryLimitMs: 5000,
};

/** Addresses at which nothing is: nobody's ids, wrong ones, and upgrades that nobody takes. */
export const idsOfNobody: Scenario = {
  name: "ids-nobody",
  about: "a scan: unknown classes and routes, ids that are too long, explanations, upgrades that are refused",
  expected: [
    ...["200", "400 bad_object_id", "404 not_found", "404 unknown_class", "426 upgrade_required"],
    // The host counts as overloaded, and takes no objects that it has not (H23).
    "503 no_eligible_host",
  ],
  floors: ({ size }) => {
    const least = size(5000, 50);
    return {
      "404 unknown_class": least,
      "400 bad_object_id": least,
      "200": least,
      "404 not_found": size(1000, 50),
    };
  },
  growth: (stage) => ({
    mebibytes: stage.size(256, 96),
    because:
      "nothing is kept of what is refused; ids of a class that exists become objects, which are let go",
  }),
  bystanderP99Ms: 1500,
  async run(stage) {
    const before = await awake(stage);
    const count = stage.size(100_000, 100);
    const forMs = 120_000;
    const fields = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const scans = [
      { line: "GET /nothing/{n}" },
      { line: `GET /memo/${"x".repeat(300)}{n}` },
      { line: "GET /-/explain/memo/nobody-{n}" },
      { line: "GET /memo/scan-{n}/nothing", fields: [...fields, key] },
    ];
    const attacks = await Promise.all(
      scans.map((scan) => stage.attack({ kind: "requests", connections: 16, count, forMs, ...scan })),
    );
    for (const attack of attacks) await attack.done(forMs + 30_000);
    await letGo(stage, before);
  },
  serves: async (stage) => (await stage.ask("/memo/object-1")).ok,
  recoveryLimitMs: 5000,
};

/** Objects that sleep, and keep what was said on their topics. */
export const keptAsleep: Scenario = {
  name: "kept-asleep",
  about: "50,000 objects with 8 KB of messages each, which they keep while they sleep",
  expected: answers,
  floors: ({ size }) => ({ "200": size(10_000, 100) }),
  growth: () => ({
    mebibytes: 192 + 160,
    because:
      "64 MiB of messages of those asleep (asleepMessageBytesMax), some thousands awake for 2 s, and the directory's cache",
  }),
  // What those asleep may keep, and 4 KiB for each of them.
  keptMiB: 100,
  bystanderP99Ms: 1500,
  async run(stage) {
    const before = await awake(stage);
    await ask(stage, "POST /archive/object-{n}/say", stage.size(50_000, 200));
    await letGo(stage, before);
    stage.figure("asleep", (await stage.host.metrics()).stateful_objects_asleep ?? 0);
  },
  serves: async (stage) => (await stage.ask("/archive/object-1")).ok,
  recoveryLimitMs: 5000,
};
