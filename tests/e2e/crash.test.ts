import { expect, test } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { crashPlan, replayLine, runCrash, testKills } from "./crash-run.ts";

const plan = { ...crashPlan, kills: testKills, seed: seedFrom("CRASH_SEED") };

test(`S1 S3 S5 every acknowledged increment is there exactly once, after ${plan.kills} kill -9 of ${plan.hosts} hosts (seed ${plan.seed})`, async () => {
  console.log(`crash: seed ${plan.seed}`);
  const { lines, violations } = await runCrash(plan);
  for (const line of lines) console.log(`crash: ${line}`);
  if (violations.length > 0) console.log(`crash: replay with: ${replayLine(plan)}`);
  expect(violations).toEqual([]);
}, 120_000);
