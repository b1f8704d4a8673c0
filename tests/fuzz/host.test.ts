import { expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { withFuzzedHost } from "./fuzzed-host.ts";
import { fuzzHost, hostTargets } from "./host-fuzz.ts";

const seed = seedFrom("FUZZ_SEED");
const inputsEach = 512;

test.each(hostTargets.map((target, index) => [target.name, target, index] as const))(
  `%s: whatever comes, a host answers or hangs up, and its other clients notice nothing (FUZZ_SEED=${seed})`,
  async (_, target, index) => {
    await withFuzzedHost(async (host) => {
      const result = await fuzzHost(
        host,
        target,
        new SeededRandom(seed + index),
        (inputs) => inputs >= inputsEach,
      );
      expect(result.failures).toEqual([]);
      expect(result.inputs).toBe(inputsEach);
      // Both happen, or nothing was tried.
      expect(Math.min(result.answered, result.cutOff)).toBeGreaterThan(0);
    });
  },
  60_000,
);
