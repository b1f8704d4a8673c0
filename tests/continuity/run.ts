import { parseArgs } from "node:util";
import { namesOption, seedOption, wholeNumberOption } from "../support/command-options.ts";
import { built } from "./built.ts";
import { runLong, faultNames, type LongPlan } from "./long-run.ts";
import { hostsMax } from "./stage.ts";

/**
 * Scenarios one after the other, chosen by a seed, for as long as one likes:
 *
 *     bun tests/continuity/run.ts --seconds 600 --hosts 5 --clients 40 --seed 7 --faults kill,freeze,move
 */
function planOf(args: readonly string[]): LongPlan {
  const option = { type: "string" } as const;
  const options = { seconds: option, hosts: option, clients: option, seed: option, faults: option };
  const { values } = parseArgs({ args: [...args], options });
  const { seconds = "60", hosts = "3", clients = "12" } = values;
  const possible = faultNames.filter((name) => built.moves || (name !== "move" && name !== "drain"));
  return {
    seconds: wholeNumberOption("--seconds", seconds, { min: 1, max: 1_000_000 }),
    hosts: wholeNumberOption("--hosts", hosts, { min: 1, max: hostsMax }),
    clients: wholeNumberOption("--clients", clients, { min: 1, max: 500 }),
    seed: seedOption("--seed", values.seed),
    faults: values.faults === undefined ? possible : namesOption("--faults", values.faults, faultNames),
  };
}

const plan = planOf(process.argv.slice(2));
const { seconds, hosts, clients, seed, faults } = plan;
const replay = `bun tests/continuity/run.ts --seconds ${seconds} --hosts ${hosts} --clients ${clients} --seed ${seed} --faults ${faults.join(",")}`;
console.log(replay);
const wrong = await runLong(plan);
if (wrong > 0) console.error(`${wrong} rounds went wrong. Replay: ${replay}`);
process.exit(wrong > 0 ? 1 : 0);
