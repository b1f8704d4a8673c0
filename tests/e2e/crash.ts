import { parseArgs } from "node:util";
import { seedOption, wholeNumberOption } from "../support/command-options.ts";
import { crashHostsMax, type CrashPlan, crashPlan, replayLine, runCrash } from "./crash-run.ts";

/** `bun run crash`: the crash test, as long and as large as one likes. */
function planOf(args: readonly string[]): CrashPlan {
  const option = { type: "string" } as const;
  const options = { seed: option, kills: option, hosts: option, counters: option, clients: option };
  const { values } = parseArgs({ args: [...args], options });
  const number = (name: keyof typeof crashPlan, max: number) =>
    wholeNumberOption(`--${name}`, values[name] ?? String(crashPlan[name]), { max });
  return {
    seed: seedOption("--seed", values.seed),
    kills: number("kills", 100_000),
    hosts: number("hosts", crashHostsMax),
    counters: number("counters", 100_000),
    clients: number("clients", 200),
  };
}

const plan = planOf(process.argv.slice(2));
console.log(replayLine(plan));
const { lines, violations } = await runCrash(plan);
for (const line of lines) console.log(line);
for (const violation of violations) console.error(`WRONG: ${violation}`);
if (violations.length > 0) console.error(`Replay: ${replayLine(plan)}`);
process.exit(violations.length > 0 ? 1 : 0);
