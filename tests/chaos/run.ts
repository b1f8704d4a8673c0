import { parseArgs } from "node:util";
import { type ChaosPlan, leftOut, runChaos } from "./chaos-run.ts";
import { type FaultName, faultNames } from "./fault-names.ts";
import { reasonToSkip } from "./means.ts";
import { linesOf, replayLine } from "./report.ts";

const minutesMax = 10_000;

/**
 * Everything that can befall real processes, under clients who check what they are told:
 *
 *     bun run chaos [--minutes 3] [--seed 7] [--faults kill-host,fill-disk] [--json report.json]
 *
 * Ends with 1 where something is wrong.
 */
function planOf(args: readonly string[]): ChaosPlan & { readonly json: string | undefined } {
  const option = { type: "string" } as const;
  const options = { minutes: option, seed: option, faults: option, json: option };
  const { values } = parseArgs({ args: [...args], options });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  if (!Number.isInteger(seed) || seed < 0)
    throw new Error(`--seed is "${values.seed}"; it must be a whole number of 0 or more.`);
  const minutes = Number(values.minutes ?? 3);
  if (!(minutes > 0 && minutes <= minutesMax))
    throw new Error(`--minutes is "${values.minutes}"; it must be a number up to ${minutesMax}.`);
  const faults = values.faults?.split(",").map(nameOf) ?? faultNames;
  return { seed, seconds: minutes * 60, faults, json: values.json };
}

function nameOf(text: string): FaultName {
  const found = faultNames.find((name) => name === text);
  if (found === undefined) throw new Error(`"${text}" is none of ${faultNames.join(", ")}.`);
  return found;
}

const { json, ...plan } = planOf(process.argv.slice(2));
const reason = reasonToSkip();
if (reason !== undefined) {
  console.error(`chaos: not possible here: ${reason}`);
  process.exit(2);
}
const stop = new AbortController();
// Once: it ends in order. Twice: at once, and what `exit` does removes all that was made.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(130);
    console.error("chaos: stops; again to stop at once");
    stop.abort();
  });
console.log(replayLine(plan));
for (const [name, why] of leftOut(plan.faults)) console.log(`chaos: leaves out ${name}: ${why}`);
const report = await runChaos(plan, (line) => console.log(`chaos: ${line}`), stop.signal);
for (const line of linesOf(report)) console.log(line);
if (json !== undefined) await Bun.write(json, JSON.stringify(report, undefined, 2));
process.exit(report.violations.length > 0 ? 1 : 0);
