/** Handlers that do not end before their clients do. */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("patient")
  .get("/", () => "here")
  .get("/never", ({ request }) => aborted(request.signal))
  .get("/busy/:ms", ({ params }) => busy(params.ms), {
    params: t.Object({ id: t.String(), ms: t.Integer() }),
  })
  .get("/for/:ms", async ({ params }) => later(params.ms), {
    params: t.Object({ id: t.String(), ms: t.Integer() }),
  });

export function aborted(signal: AbortSignal): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  if (signal.aborted) resolve("left");
  else signal.addEventListener("abort", () => resolve("left"), { once: true });
  return promise;
}

function later(ms: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  setTimeout(() => resolve("at last"), ms);
  return promise;
}

/** Keeps the processor. */
function busy(ms: number): string {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
  return "done";
}
