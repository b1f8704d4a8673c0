import { parseArgs } from "node:util";
import { namesOption, numberOption, seedOption } from "../support/command-options.ts";
import { type ChaosPlan, leftOut, runChaos } from "./chaos-run.ts";
import { faultNames } from "./fault-names.ts";
import { reasonToSkip } from "./means.ts";
import { linesOf, replayLine } from "./report.ts";

const minutesMin = 0.01;
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
  const minutes = numberOption("--minutes", values.minutes ?? "3", { min: minutesMin, max: minutesMax });
  return {
    seed: seedOption("--seed", values.seed),
    seconds: minutes * 60,
    faults: namesOption("--faults", values.faults, faultNames),
    json: values.json,
  };
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
