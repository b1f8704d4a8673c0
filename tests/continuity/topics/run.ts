import { parseArgs } from "node:util";
import { runTopics, tellTopics, type TopicsPlan } from "./topics-run.ts";
import { upheavalNames } from "./upheavals.ts";

const minutesMax = 10_000;

/**
 * All promises of topics, under everything that can befall hosts and clients:
 *
 *     bun run topics [seed] [--minutes 2] [--upheavals moves,edge,owner,drain]
 */
function planOf(args: readonly string[]): TopicsPlan {
  const option = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { minutes: option, upheavals: option },
    allowPositionals: true,
  });
  const seed = Number(positionals[0] ?? Math.floor(Math.random() * 2 ** 31));
  if (!Number.isInteger(seed) || seed < 0 || positionals.length > 1)
    throw new Error(`The seed is "${positionals.join(" ")}"; it must be one whole number of 0 or more.`);
  const minutes = Number(values.minutes ?? 2);
  if (!(minutes > 0 && minutes <= minutesMax))
    throw new Error(`--minutes is "${values.minutes}"; it must be a number up to ${minutesMax}.`);
  const upheavals = (values.upheavals?.split(",") ?? upheavalNames).map((wanted) => {
    const found = upheavalNames.find((name) => name === wanted);
    if (found === undefined) throw new Error(`"${wanted}" is none of ${upheavalNames.join(", ")}.`);
    return found;
  });
  return { seed, seconds: minutes * 60, upheavals };
}

const plan = planOf(process.argv.slice(2));
const { seed, seconds, upheavals } = plan;
console.log(`bun run topics ${seed} --minutes ${seconds / 60} --upheavals ${upheavals.join(",")}`);
const wrong = tellTopics(plan, await runTopics(plan));
process.exit(wrong.length > 0 ? 1 : 0);
