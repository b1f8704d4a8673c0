import { afterAll, expect } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import { whenBuilt } from "./built.ts";
import { crash } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { scenario, someFailures } from "./scenario.ts";
import { heartbeatMs } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);
const limitMs = 120_000;
/** Longer than two hosts take to see that they do not hear each other (`heartbeatMs` times `silentBeatsMax` and one). */
const silenceMs = 5 * heartbeatMs;

for (const direction of ["both", "a to b"] as const)
  whenBuilt("relay")(
    `an edge and the owner are cut off from each other (${direction === "both" ? "both ways" : "one way"}) and not from the primary: a third host carries it (seed ${seed})`,
    async () => {
      const plan = { name: `cut off, ${direction}`, seed, object: "/talk/x", cutsWays: true };
      const report = await scenario(plan, async ({ stage, load, owner }) => {
        const edge = stage.other(owner);
        await stage.cut(edge, owner, direction);
        // Also those at the edge: through the third host.
        await load.goesOn(5, silenceMs + 10_000);
        await Bun.sleep(silenceMs); // the length of the cut
        await load.goesOn();
        await stage.heal(edge, owner, direction);
        await load.goesOn();
        return { talk: crash(2, 1, []), calls: someFailures };
      });
      expect(report.talk.totals.ownerChanges).toBe(0);
    },
    limitMs,
  );

whenBuilt()(
  `an edge and the owner are cut off from each other: nobody takes over, everybody else goes on, and it heals (seed ${seed})`,
  async () => {
    const plan = { name: "cut off, no takeover", seed, object: "/talk/x", cutsWays: true };
    const report = await scenario(plan, async ({ stage, load, owner, object }) => {
      const edge = stage.other(owner);
      await stage.cut(edge, owner);
      await Bun.sleep(silenceMs); // the length of the cut
      await load.goesOn(5, undefined, [edge]);
      await stage.heal(edge, owner);
      await until("the edge reaches the owner", async () => (await stage.owner(object)) === owner, 20_000);
      await load.goesOn();
      const closings = [{ edge: edge.id, codes: [1006, 1012, 1013] }];
      return { talk: crash(2, 1, closings), calls: someFailures };
    });
    expect(report.talk.totals.ownerChanges).toBe(0);
  },
  limitMs,
);
