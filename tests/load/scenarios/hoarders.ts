import type { Scenario } from "../scenario.ts";

const limitMiB = 400;

/** Objects that together want more memory than the host has. */
export const hoarders: Scenario = {
  name: "hoarders",
  about: "600 objects that take 2 MiB each on a host that may use 400 MiB, alone",
  env: { STATEFUL_MEMORY_LIMIT_MB: String(limitMiB) },
  expected: ["200", "503 host_full", "503 no_eligible_host"],
  floors: ({ size }) => ({ "200": size(100, 20) }),
  growth: () => ({
    mebibytes: Math.round(limitMiB * 1.1),
    because:
      "STATEFUL_MEMORY_LIMIT_MB: refusals begin at 85 % of it, and what came within a second of that is on top",
  }),
  // Those who came in time keep what they have.
  keptMiB: limitMiB,
  bystanderP99Ms: 1500,
  async run(stage) {
    const count = stage.size(600, 20);
    const line = "POST /hoard/{n}/fill";
    const attack = await stage.attack({ kind: "requests", connections: 4, count, line, perSecond: 20 });
    const { tally } = await attack.done(120_000);
    stage.figure("taken", tally["200"] ?? 0);
    if (stage.size(true, false)) stage.check("some were refused", (tally["200"] ?? 0) < 600);
  },
  serves: async (stage) => (await stage.ask("/hoard/another")).ok,
  recoveryLimitMs: 90_000,
};
