import { expect, test } from "bun:test";
import { seedFrom } from "../../support/seeded-random.ts";
import { runTopics, tellTopics } from "./topics-run.ts";
import { upheavalNames } from "./upheavals.ts";

const seed = seedFrom("CONTINUITY_SEED");
const limitMs = 240_000;

test(
  `T5 T7 all that three kinds of listeners hear is whole, or they are told, whatever befalls hosts (seed ${seed})`,
  async () => {
    const plan = { seed, seconds: 12, upheavals: upheavalNames };
    expect(tellTopics(plan, await runTopics(plan))).toEqual([]);
  },
  limitMs,
);
