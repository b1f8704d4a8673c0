import { parseArgs } from "node:util";
import { namesOption, numberOption, seedOption } from "../../support/command-options.ts";
import { runTopics, tellTopics, type TopicsPlan } from "./topics-run.ts";
import { upheavalNames } from "./upheavals.ts";

const minutesMin = 0.01;
const minutesMax = 10_000;

/**
 * All promises of topics, under everything that can befall hosts and clients:
 *
 *     bun run topics [seed] [--minutes 2] [--upheavals moves,edge,owner,drain,cut,freeze]
 */
function planOf(args: readonly string[]): TopicsPlan {
  const option = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { minutes: option, upheavals: option },
    allowPositionals: true,
  });
  if (positionals.length > 1) throw new Error(`"${positionals.join(" ")}" is more than one seed.`);
  return {
    seed: seedOption("The seed", positionals[0]),
    seconds: 60 * numberOption("--minutes", values.minutes ?? "2", { min: minutesMin, max: minutesMax }),
    upheavals: namesOption("--upheavals", values.upheavals, upheavalNames),
  };
}

const plan = planOf(process.argv.slice(2));
const { seed, seconds, upheavals } = plan;
console.log(`bun run topics ${seed} --minutes ${seconds / 60} --upheavals ${upheavals.join(",")}`);
const wrong = tellTopics(plan, await runTopics(plan));
process.exit(wrong.length > 0 ? 1 : 0);
