import { expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { tellTrust } from "../support/trust-line.ts";
import { withFuzzedHost } from "./fuzzed-host.ts";
import { fuzzHost, hostTargets } from "./host-fuzz.ts";

const seed = seedFrom("FUZZ_SEED");
const inputsEach = 256;

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
      const { inputs, answered, cutOff, silent, memoryMiB, slowestProbeMs, failures } = result;
      tellTrust(`fuzz of a host, ${target.name}, FUZZ_SEED=${seed}`, {
        ...{ inputs, answered, "cut off": cutOff, "left waiting": silent },
        "memory, MiB": `${memoryMiB.before} then ${memoryMiB.after}`,
        ...{ "neighbour waited at most, ms": slowestProbeMs, failures: failures.length },
      });
      expect(result.failures).toEqual([]);
      expect(result.inputs).toBe(inputsEach);
      // Or nothing was tried.
      expect(result.answered).toBeGreaterThan(inputsEach / 4);
    });
  },
  60_000,
);
