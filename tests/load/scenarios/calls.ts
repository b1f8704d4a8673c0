import type { LoadStage, Scenario } from "../scenario.ts";

const growth = (stage: LoadStage) => ({
  mebibytes: stage.size(832, 96),
  because:
    "64 callers with 1,000 calls under way each, at 12 KiB (a client of Eden's, a request, an answer); and 64 MiB",
});

/** Objects that call a thousand others at once. */
export const callStorm: Scenario = {
  name: "call-storm",
  about: "64 objects that call 1,000 others each, at once, again and again",
  expected: ["200"],
  floors: ({ size }) => ({ "200": size(1000, 20) }),
  growth,
  bystanderP99Ms: 2500,
  async run(stage) {
    const count = stage.size(1000, 20);
    const line = `GET /ring/{n%64}/storm/${stage.size(1000, 100)}`;
    const attack = await stage.attack({ kind: "requests", connections: 64, count, line });
    const { figures } = await attack.done(200_000);
    stage.figure("storms a second", figures.perSecond ?? 0);
  },
  serves: async (stage) => (await stage.ask("/ring/1")).ok,
  recoveryLimitMs: 5000,
};

/** Objects in a circle which wait for each other: each call in both directions. */
export const callCycle: Scenario = {
  name: "call-cycle",
  about: "circles of objects that are busy while they call on: once around, and towards each other",
  expected: ["200", "508 call_cycle", "429 queue_full", "lost"],
  floors: ({ size }) => ({ "508 call_cycle": size(2000, 8) }),
  growth,
  bystanderP99Ms: 1500,
  async run(stage) {
    const around = (by: number) =>
      stage.attack({
        ...{ kind: "requests", connections: 8, count: stage.size(4000, 16) },
        line: `GET /ring/{n%8}/next?size=8&left=8&by=${by}`,
      });
    // Once around is a cycle that each call shows; two that meet are a knot that none of them shows.
    const attacks = await Promise.all([around(1), around(-1)]);
    for (const attack of attacks)
      stage.figure("a second", (await attack.done(60_000)).figures.perSecond ?? 0);
  },
  serves: async (stage) => (await stage.ask("/ring/1")).ok,
  recoveryLimitMs: 5000,
};
