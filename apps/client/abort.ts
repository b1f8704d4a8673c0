import type { Cancel } from "./surroundings.ts";

/** Calls back when a signal aborts. The returned function ends that, so that a signal that lives long keeps nothing. */
export function onAbort(callback: () => void, ...signals: (AbortSignal | undefined)[]): Cancel {
  for (const signal of signals) signal?.addEventListener("abort", callback);
  return () => {
    for (const signal of signals) signal?.removeEventListener("abort", callback);
  };
}
