import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { lifecycleHookLimitMs } from "../object/options.ts";

/** Runs an author's hook within its time (30 s). Rejects with what it threw, or when it took too long. */
export async function runHook(
  clock: Clock,
  name: "onStart" | "onStop" | "onMoveIn" | "onMoveOut",
  hook: () => void | Promise<void>,
): Promise<void> {
  const late = () => new Error(`${name} did not settle within ${lifecycleHookLimitMs} ms.`);
  await withTimeLimit(clock, lifecycleHookLimitMs, Promise.resolve(hook()), late);
}
