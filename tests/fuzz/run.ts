import { parseArgs } from "node:util";
import { numberOption, seedOption } from "../support/command-options.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { decoderTargets } from "./decoder-targets.ts";
import { type FuzzFailure, fuzzDecoder } from "./fuzz-decoder.ts";
import { withFuzzedHost } from "./fuzzed-host.ts";
import { fuzzHost, hostTargets } from "./host-fuzz.ts";

/**
 * Everything that takes bytes from outside, one after the other, each for its share of the time:
 *
 *     bun run fuzz [seed] [--minutes 5] [--only "stored values"]
 *
 * Half of it goes to hosts, over real sockets. A failure is printed with the input that it took; the exit code is 1 then. A seed
 * repeats the inputs of a target in their order, and how far it comes in them is the machine's.
 */
const minutesMax = 10_000;
const option = { type: "string" } as const;
const { values, positionals } = parseArgs({
  options: { minutes: option, only: option },
  allowPositionals: true,
});
const seed = seedOption("The seed", positionals[0]);
const minutes = numberOption("--minutes", values.minutes ?? "5", { max: minutesMax });
const isWanted = ({ name }: { readonly name: string }) => name.includes(values.only ?? "");
const hostShare = 0.5;

function deadline(share: number, targets: number): () => boolean {
  const untilMs = performance.now() + (minutes * 60_000 * share) / targets;
  return () => performance.now() >= untilMs;
}

function tell(failures: readonly FuzzFailure[]): void {
  for (const { what, input } of failures) console.error(`  FAILED  ${what}\n  with    ${input}`);
}

const decoders = decoderTargets.filter(isWanted);
const hosts = hostTargets.filter(isWanted);
const [decoderShare, share] =
  hosts.length === 0 ? [1, 0] : decoders.length === 0 ? [0, 1] : [1 - hostShare, hostShare];
let [inputs, failed] = [0, 0];

console.log(
  `bun run fuzz ${seed} --minutes ${minutes}${values.only === undefined ? "" : ` --only "${values.only}"`}`,
);
console.log(
  "target".padEnd(46),
  "inputs".padStart(9),
  "refused".padStart(9),
  "slowest".padStart(9),
  "failed".padStart(7),
);
for (const target of decoders) {
  const random = new SeededRandom(seed + decoderTargets.indexOf(target));
  const result = fuzzDecoder(target, random, deadline(decoderShare, decoders.length));
  inputs += result.inputs;
  failed += result.failures.length;
  const { refused, slowestMs, failures } = result;
  console.log(
    target.name.padEnd(46),
    count(result.inputs),
    count(refused),
    `${Math.round(slowestMs)} ms`.padStart(9),
    count(failures.length, 7),
  );
  tell(failures);
}
Bun.gc(true);
console.log(`memory of this process: ${Math.round(process.memoryUsage.rss() / 1024 / 1024)} MiB`);
for (const target of hosts) {
  const random = new SeededRandom(seed + hostTargets.indexOf(target));
  const result = await withFuzzedHost((host) =>
    fuzzHost(host, target, random, deadline(share, hosts.length)),
  );
  inputs += result.inputs;
  failed += result.failures.length;
  const { answered, cutOff, silent, memoryMiB, slowestProbeMs, failures } = result;
  console.log(
    target.name.padEnd(46),
    count(result.inputs),
    `${answered} answered, ${cutOff} cut off, ${silent} left waiting`,
  );
  console.log(
    "".padEnd(46),
    `memory ${memoryMiB.before} → ${memoryMiB.after} MiB, neighbour waited ${Math.round(slowestProbeMs)} ms at most, failed ${failures.length}`,
  );
  tell(failures);
}
console.log(`${inputs} inputs, ${failed} failures`);
process.exit(failed > 0 ? 1 : 0);

function count(value: number, width = 9): string {
  return String(value).padStart(width);
}
