import { afterAll, expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { tellTrust } from "../support/trust-line.ts";
import { decoderTargets } from "./decoder-targets.ts";
import { fuzzDecoder } from "./fuzz-decoder.ts";

const seed = seedFrom("FUZZ_SEED");
const inputsEach = 400;
const totals = { targets: 0, inputs: 0, refused: 0, "slowest, ms": 0, failures: 0 };
afterAll(() => tellTrust(`fuzz of decoders, FUZZ_SEED=${seed}`, totals));

test.each(decoderTargets.map((target, index) => [target.name, target, index] as const))(
  `%s: whatever comes is read or refused, and leaves nothing behind (FUZZ_SEED=${seed})`,
  (_, target, index) => {
    const { failures, inputs, refused, slowestMs } = fuzzDecoder(
      target,
      new SeededRandom(seed + index),
      (count) => count >= inputsEach,
    );
    totals.targets += 1;
    totals.inputs += inputs;
    totals.refused += refused;
    totals.failures += failures.length;
    totals["slowest, ms"] = Math.max(totals["slowest, ms"], slowestMs);
    expect(failures).toEqual([]);
    // That all is taken, or nothing, would say that nothing was tried.
    expect(refused).toBeGreaterThan(0);
    expect(inputs).toBe(inputsEach);
  },
);
