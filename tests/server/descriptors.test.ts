import { expect, test } from "bun:test";
import { descriptorsAdvice, descriptorsKept, descriptorsMax } from "../../apps/server/descriptors.ts";

const limits = (soft: string) => `Limit   Soft Limit   Hard Limit   Units
Max processes             96245                96245                processes
Max open files            ${soft}                1048576                files
`;

test("the limit that holds is the soft one; a system that does not tell has none", () => {
  expect(descriptorsMax(limits("20000"))).toBe(20_000);
  expect(descriptorsMax(limits("unlimited"))).toBe(Number.POSITIVE_INFINITY);
  expect(descriptorsMax("")).toBe(Number.POSITIVE_INFINITY);
  expect(descriptorsMax()).toBeGreaterThan(100);
});

test("who may not open as many files as it may hold sockets is told what to raise, or what to set", () => {
  expect(descriptorsAdvice(100_000, 100_000 + descriptorsKept)).toBeUndefined();
  expect(descriptorsAdvice(100_000, 20_000)).toContain("Allow it 101000 (ulimit -n)");
  expect(descriptorsAdvice(100_000, 20_000)).toContain("STATEFUL_SOCKETS_MAX to 19000");
});
