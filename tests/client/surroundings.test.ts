import { afterEach, expect, test } from "bun:test";
import { systemSurroundings } from "../../apps/client/surroundings.ts";
import { until } from "../support/wait.ts";

const scope = globalThis as unknown as Record<string, unknown>; // what a page has, and Bun has not
const before = ["document", "addEventListener", "removeEventListener"].map(
  (name) => [name, scope[name]] as const,
);
afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete scope[name];
    else scope[name] = value;
  }
});

test("C7 a page that is shown, or that has a network again, wakes; one that is hidden does not", () => {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  Object.assign(scope, {
    document,
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  });
  let wakes = 0;
  const stop = systemSurroundings.onWake(() => {
    wakes += 1;
  });
  document.dispatchEvent(new Event("visibilitychange"));
  expect(wakes).toBe(0);
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  page.dispatchEvent(new Event("online"));
  expect(wakes).toBe(2);
  stop();
  page.dispatchEvent(new Event("online"));
  document.dispatchEvent(new Event("visibilitychange"));
  expect(wakes).toBe(2);
});

test("C7 where there is no page, nothing wakes, and nothing breaks", () => {
  for (const [name] of before) scope[name] = undefined;
  systemSurroundings.onWake(() => undefined)();
});

test("C7 timers run once, and not at all where they were cancelled or are for ever", async () => {
  const ran: string[] = [];
  systemSurroundings.after(Number.POSITIVE_INFINITY, () => ran.push("never"))();
  systemSurroundings.after(0, () => ran.push("cancelled"))();
  systemSurroundings.after(1, () => ran.push("run"));
  await until("it has run", () => ran.length > 0);
  expect(ran).toEqual(["run"]);
});
