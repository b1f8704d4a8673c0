import { parseArgs } from "node:util";
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
  return {
    seconds: number("--seconds", values.seconds, 60, 1_000_000),
    hosts: number("--hosts", values.hosts, 3, hostsMax),
    clients: number("--clients", values.clients, 12, 500),
    seed: number("--seed", values.seed, Math.floor(Math.random() * 2 ** 31), 2 ** 32 - 1),
    faults: faultsOf(values.faults),
  };
}

function number(name: string, text: string | undefined, fallback: number, max: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new Error(`${name} is "${text}"; it must be a whole number from 1 to ${max}.`);
}

function faultsOf(text: string | undefined): LongPlan["faults"] {
  if (text === undefined)
    return faultNames.filter((name) => built.moves || (name !== "move" && name !== "drain"));
  return text.split(",").map((wanted) => {
    const found = faultNames.find((name) => name === wanted);
    if (found === undefined)
      throw new Error(`There is no fault "${wanted}". There are: ${faultNames.join(", ")}.`);
    return found;
  });
}

const plan = planOf(process.argv.slice(2));
const { seconds, hosts, clients, seed, faults } = plan;
const replay = `bun tests/continuity/run.ts --seconds ${seconds} --hosts ${hosts} --clients ${clients} --seed ${seed} --faults ${faults.join(",")}`;
console.log(replay);
const wrong = await runLong(plan);
if (wrong > 0) console.error(`${wrong} rounds went wrong. Replay: ${replay}`);
process.exit(wrong > 0 ? 1 : 0);
