import { parseArgs } from "node:util";
import { crashHostsMax, type CrashPlan, crashPlan, replayLine, runCrash } from "./crash-run.ts";

/** `bun run crash`: the crash test, as long and as large as one likes. */
function planOf(args: readonly string[]): CrashPlan {
  const option = { type: "string" } as const;
  const options = { seed: option, kills: option, hosts: option, counters: option, clients: option };
  const { values } = parseArgs({ args: [...args], options });
  return {
    seed: number("--seed", values.seed, Math.floor(Math.random() * 2 ** 31), 2 ** 32 - 1),
    kills: number("--kills", values.kills, crashPlan.kills, 100_000),
    hosts: number("--hosts", values.hosts, crashPlan.hosts, crashHostsMax),
    counters: number("--counters", values.counters, crashPlan.counters, 100_000),
    clients: number("--clients", values.clients, crashPlan.clients, 200),
  };
}

function number(name: string, text: string | undefined, fallback: number, max: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new Error(`${name} is "${text}"; it must be a whole number up to ${max}.`);
}

const plan = planOf(process.argv.slice(2));
console.log(replayLine(plan));
const { lines, violations } = await runCrash(plan);
for (const line of lines) console.log(line);
for (const violation of violations) console.error(`WRONG: ${violation}`);
if (violations.length > 0) console.error(`Replay: ${replayLine(plan)}`);
process.exit(violations.length > 0 ? 1 : 0);
