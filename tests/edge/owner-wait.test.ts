import { expect, test } from "bun:test";
import { OwnerWait, ownerWaitGraceMs } from "../../infra/edge/owner-wait.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const leaseTtlMs = 9000;
const unreachable = new StatefulError("owner_unreachable", "by the test");

function waiting(signal = new AbortController().signal) {
  const clock = new VirtualClock();
  const seen = { refreshes: 0 };
  const refreshHosts = async () => void seen.refreshes++;
  return { clock, seen, wait: new OwnerWait({ clock, random: () => 1, leaseTtlMs, refreshHosts }, signal) };
}

test("E23 a request that waits for the next owner searches until the lease and a little more have passed", async () => {
  const { clock, seen, wait } = waiting();
  let rounds = 0;
  let isOver = false;
  const all = (async () => {
    while (await wait.goesOnAfter(unreachable)) rounds++;
    isOver = true;
  })();
  await clock.advance(leaseTtlMs + ownerWaitGraceMs - 100);
  expect(isOver).toBe(false);
  await clock.advance(2000);
  await all;
  expect(rounds).toBeGreaterThan(10);
  expect(rounds).toBeLessThan(25);
  expect(seen.refreshes).toBe(rounds);
  expect(clock.timersLeft).toBe(0);
});

test("E23 any other failure is the answer", async () => {
  const { wait } = waiting();
  for (const code of ["outcome_unknown", "no_eligible_host", "unknown_class", "queue_full"] as const)
    expect(await wait.goesOnAfter(new StatefulError(code, "by the test"))).toBe(false);
  expect(await wait.goesOnAfter(new Error("by the test"))).toBe(false);
});

test("E23 nobody waits for a client that has left", async () => {
  const leaving = new AbortController();
  const { clock, wait } = waiting(leaving.signal);
  const goesOn = wait.goesOnAfter(unreachable);
  await clock.advance(10);
  leaving.abort();
  expect(await goesOn).toBe(false);
  expect(clock.timersLeft).toBe(0);
});
