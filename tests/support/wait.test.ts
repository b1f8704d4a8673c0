import { expect, test } from "bun:test";
import { until } from "./wait.ts";

test("until resolves with what the condition gives in the end", async () => {
  let asked = 0;
  expect(await until("three questions", () => (++asked === 3 ? asked : undefined))).toBe(3);
  expect(await until("a promise of true", async () => true)).toBe(true);
});

test("until takes 0 and the empty text for answers", async () => {
  expect(await until("zero", () => 0)).toBe(0);
  expect(await until("nothing in it", () => "")).toBe("");
});

test("until says what did not happen", async () => {
  const late = until("the owner answers", () => false, 20);
  await expect(late).rejects.toThrow("did not happen within 20 ms: the owner answers");
  const hung = until("the host hears", () => new Promise<undefined>(() => undefined), 20);
  await expect(hung).rejects.toThrow("did not happen within 20 ms: the host hears");
});

test("until passes on what the condition throws, at once", async () => {
  const broken = until("never", () => {
    throw new TypeError("the test is broken");
  });
  await expect(broken).rejects.toThrow("the test is broken");
});
