import { expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { decoderTargets } from "./decoder-targets.ts";
import { fuzzDecoder } from "./fuzz-decoder.ts";

const seed = seedFrom("FUZZ_SEED");
const inputsEach = 400;

test.each(decoderTargets.map((target, index) => [target.name, target, index] as const))(
  `%s: whatever comes is read or refused, and leaves nothing behind (FUZZ_SEED=${seed})`,
  (_, target, index) => {
    const { failures, inputs, refused } = fuzzDecoder(
      target,
      new SeededRandom(seed + index),
      (count) => count >= inputsEach,
    );
    expect(failures).toEqual([]);
    // That all is taken, or nothing, would say that nothing was tried.
    expect(refused).toBeGreaterThan(0);
    expect(inputs).toBe(inputsEach);
  },
);
