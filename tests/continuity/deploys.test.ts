import { afterAll, expect } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { whenBuilt } from "./built.ts";
import { plannedMove } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { noFailures, scenario } from "./scenario.ts";
import { longLeaseTtlMs } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);
const common = { seed, leaseTtlMs: longLeaseTtlMs };
const limitMs = 120_000;
const whenMoved = whenBuilt("moves");

for (const className of ["talk", "talk-durable"]) {
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    whenMoved(
      `${className}: its owner is drained by ${signal}, and nobody elsewhere notices (seed ${seed})`,
      async () => {
        const plan = {
          ...common,
          name: `owner drained by ${signal}, ${className}`,
          object: `/${className}/x`,
        };
        const report = await scenario(plan, async ({ stage, load, owner, object }) => {
          const { id } = owner;
          await stage.drain(owner, signal);
          await load.goesOn();
          expect((await stage.owner(object)).id).not.toBe(id);
          return { talk: plannedMove([id]), calls: noFailures };
        });
        expect(report.talk.totals.ownerChanges).toBe(1);
      },
      limitMs,
    );

  whenMoved(
    `${className}: a rolling deploy of three hosts, and nobody misses anything (seed ${seed})`,
    async () => {
      const plan = { ...common, name: `rolling deploy, ${className}`, object: `/${className}/x` };
      const report = await scenario(plan, async ({ stage, load }) => {
        const gone: string[] = [];
        for (const host of stage.hosts) {
          gone.push(host.id);
          await stage.drain(host);
          await load.goesOn();
          await stage.restart(host, "new port");
          await stage.allKnowAll();
          await load.goesOn();
        }
        return { talk: plannedMove(gone), calls: noFailures };
      });
      expect(report.talk.totals.ownerChanges).toBeGreaterThan(0);
    },
    limitMs,
  );
}
