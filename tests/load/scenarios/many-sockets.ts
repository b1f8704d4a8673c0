import type { LoadStage, Scenario } from "../scenario.ts";
import { descriptorsKept, descriptorsMax } from "../../../apps/server/descriptors.ts";
import { until } from "../../support/wait.ts";

/** What a client's socket takes at its edge and at its owner, awake, as `bun run bench --only socket` measures it, and twice that. */
const bytesPerSocket = 12 * 1024;

/** 20,000 where a process may have so many descriptors (`ulimit -n`, 21,000), otherwise fewer. */
const socketsFull = Math.min(20_000, 2 * Math.floor((descriptorsMax() - descriptorsKept) / 2));
const sockets = (stage: Pick<LoadStage, "size">) => stage.size(socketsFull, 200);
const refused = (stage: Pick<LoadStage, "size">) => stage.size(500, 20);

function growth(stage: LoadStage) {
  const mebibytes = Math.round((sockets(stage) * bytesPerSocket) / 1024 / 1024) + 64;
  return { mebibytes, because: `${sockets(stage)} sockets (STATEFUL_SOCKETS_MAX) at 12 KiB, and 64 MiB` };
}

async function crowd(stage: LoadStage, messagesPerSecond: number) {
  const half = sockets(stage) / 2;
  const open = { kind: "sockets", path: "/crowd/a/live", reads: "always" } as const;
  const attacks = await Promise.all(
    [half, half].map((count) => stage.attack({ ...open, sockets: count, messagesPerSecond })),
  );
  const startMs = performance.now();
  for (const attack of attacks) await attack.done(150_000);
  stage.figure("all open after, s", (performance.now() - startMs) / 1000);
  return attacks;
}

/** As many sockets as the host may hold, all of which speak, and some more. */
export const socketsAwake: Scenario = {
  name: "sockets-awake",
  about: "20,000 sockets on one object, 2,000 messages a second; 500 more are refused",
  // The bystander has one.
  env: { STATEFUL_SOCKETS_MAX: String(socketsFull + 1) },
  expected: ["101", "503 host_full"],
  floors: (stage) => ({ "101": sockets(stage), echoes: stage.size(10_000, 10) }),
  growth,
  bystanderP99Ms: 1000,
  async run(stage) {
    const attacks = await crowd(stage, stage.size(1000, 100));
    await Bun.sleep(stage.size(15_000, 500));
    let heard = 0;
    for (const attack of attacks) {
      const { figures } = await attack.report();
      heard += figures.heard ?? 0;
      stage.check(`${figures.open} of its sockets are open`, figures.open === sockets(stage) / 2);
    }
    stage.figure("echoes", heard);
    const more = { sockets: refused(stage), path: "/crowd/a/live", reads: "always" } as const;
    if (stage.size(true, false)) await (await stage.attack({ kind: "sockets", ...more })).done(30_000);
  },
  serves: async (stage) => (await stage.ask("/crowd/a")).ok,
  recoveryLimitMs: 2000,
};

/** The same, while the object sleeps; then one of them wakes it. */
export const socketsAsleep: Scenario = {
  name: "sockets-asleep",
  about: "20,000 sockets of one object that sleeps, and is woken by one of them",
  expected: ["101"],
  floors: (stage) => ({ "101": sockets(stage) }),
  growth,
  bystanderP99Ms: 1000,
  async run(stage) {
    const [first, ...rest] = await crowd(stage, 0);
    const asleep = async () => (await stage.host.metrics()).stateful_objects_asleep !== 0;
    await until("the object sleeps", asleep, 60_000);
    stage.figure("resident asleep, MiB", stage.host.residentBytes / 1024 / 1024);
    const startMs = performance.now();
    await first?.step("speak");
    await until("it answers", async () => ((await first?.report())?.figures.heard ?? 0) > 0, 30_000);
    stage.figure("woken after, ms", performance.now() - startMs);
    for (const attack of [first, ...rest]) {
      const report = await attack?.report();
      stage.check("all sockets are open", report?.figures.open === sockets(stage) / 2);
    }
  },
  serves: async (stage) => (await stage.ask("/crowd/a")).ok,
  recoveryLimitMs: 2000,
};
