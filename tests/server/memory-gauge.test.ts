import { describe, expect, test } from "bun:test";
import { LoopDelay } from "../../apps/server/loop-delay.ts";
import { machineMemoryBytes } from "../../apps/server/machine-memory.ts";
import { MemoryGauge } from "../../apps/server/memory-gauge.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const gibibyte = 1024 ** 3;
const noLimitV1 = "9223372036854771712\n";

function memoryWith(files: Readonly<Record<string, string>>): number {
  return machineMemoryBytes((path) => files[path], 8 * gibibyte) / gibibyte;
}

describe("the memory that a process may use", () => {
  test("is the machine's where no container limits it", () => {
    expect(memoryWith({})).toBe(8);
    expect(memoryWith({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n" })).toBe(8);
    expect(memoryWith({ "/sys/fs/cgroup/memory/memory.limit_in_bytes": noLimitV1 })).toBe(8);
  });

  test("is the container's, as its root, in both versions of control groups", () => {
    expect(memoryWith({ "/sys/fs/cgroup/memory.max": `${2 * gibibyte}\n` })).toBe(2);
    expect(memoryWith({ "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${gibibyte}\n` })).toBe(1);
  });

  test("is the least of the groups around the process, where those are in sight", () => {
    const files = {
      "/proc/self/cgroup": "12:cpuset:/x\n4:cpu,memory:/outer/inner\n0::/slice/unit.service\n",
      "/sys/fs/cgroup/memory/outer/memory.limit_in_bytes": `${3 * gibibyte}\n`,
      "/sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes": noLimitV1,
      "/sys/fs/cgroup/slice/memory.max": `${4 * gibibyte}\n`,
      "/sys/fs/cgroup/slice/unit.service/memory.max": "max\n",
    };
    expect(memoryWith(files)).toBe(3);
    expect(memoryWith({ ...files, "/sys/fs/cgroup/slice/unit.service/memory.max": `${gibibyte}` })).toBe(1);
  });

  test("is something on this machine", () => {
    expect(machineMemoryBytes()).toBeGreaterThan(16 * 1024 ** 2);
  });
});

describe("the delay of the event loop", () => {
  test("is none while timers come in time", async () => {
    const clock = new VirtualClock();
    const delay = new LoopDelay(clock);
    await clock.advance(20_000);
    expect([delay.percentileMs(0.5), delay.percentileMs(0.99)]).toEqual([0, 0]);
    delay.stop();
    expect(clock.timersLeft).toBe(0);
  });

  test("counts one long block as all that it delayed, until it is 10 s ago", async () => {
    const clock = new VirtualClock();
    const delay = new LoopDelay(clock);
    await clock.advance(10_000);
    clock.freeze(2000); // 2 s of the last 10
    await clock.advance(0);
    expect(delay.percentileMs(0.5)).toBe(0);
    expect(delay.percentileMs(0.9)).toBeWithin(900, 1100);
    expect(delay.percentileMs(0.99)).toBeWithin(1800, 2000);
    await clock.advance(10_000);
    expect(delay.percentileMs(0.99)).toBe(0);
    delay.stop();
  });

  test("does not let a short pause, as of a collection of garbage, look like an overload", async () => {
    const clock = new VirtualClock();
    const delay = new LoopDelay(clock);
    await clock.advance(10_000);
    clock.freeze(100);
    await clock.advance(0);
    expect(delay.percentileMs(0.99)).toBeLessThan(100);
    delay.stop();
  });

  test("of a process that was away for long fills the window, and no more", async () => {
    const clock = new VirtualClock();
    const delay = new LoopDelay(clock);
    clock.freeze(3_600_000);
    await clock.advance(0);
    expect(delay.percentileMs(0)).toBeGreaterThan(3_580_000);
    await clock.advance(10_000);
    expect(delay.percentileMs(0.99)).toBe(0);
    delay.stop();
  });
});

test("a gauge shows resident memory and the loop's delay, and leaves no timer behind", async () => {
  const clock = new VirtualClock();
  const gauge = new MemoryGauge(clock);
  await clock.advance(10_000);
  expect(gauge.usedBytes).toBeGreaterThan(1024 ** 2);
  expect(gauge.loopDelayMs).toEqual({ p50: 0, p99: 0 });
  gauge.stop();
  expect(clock.timersLeft).toBe(0);
});

test("a gauge that cannot look for once goes on with what it saw, and looks again", async () => {
  const clock = new VirtualClock();
  let bytes: number | undefined = 1000;
  const gauge = new MemoryGauge(clock, () => {
    if (bytes === undefined) throw new Error("Failed to get memory usage");
    return bytes;
  });
  bytes = undefined; // no file descriptor is left
  await clock.advance(3000);
  expect(gauge.usedBytes).toBe(1000);
  bytes = 2000;
  await clock.advance(1000);
  expect(gauge.usedBytes).toBe(2000);
  gauge.stop();
});
