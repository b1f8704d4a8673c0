/** Objects that call each other, each busy meanwhile. */
import { t } from "elysia";
import { object, StatefulError } from "stateful-objects";
import memo from "./memo.ts";

const steps = t.Object({ size: t.Integer(), by: t.Integer(), left: t.Integer() });
type Next = { next: { get(options: object): Promise<{ status: number; error?: { value: unknown } }> } };

const ring = object("ring", { concurrency: "serial" })
  .get("/", () => "here")
  .get(
    "/storm/:count",
    async ({ params, objects }) => {
      const calls = Array.from({ length: params.count }, (_, n) => objects(memo, `called-${n}`).get());
      const answers = await Promise.all(calls);
      return { served: answers.filter(({ status }) => status === 200).length };
    },
    { params: t.Object({ id: t.String(), count: t.Integer() }) },
  )
  // To the next in the circle, and on from there.
  .get(
    "/next",
    async ({ query: { size, by, left }, objects, objectId }): Promise<string> => {
      if (left === 0) return "round";
      const next = String((Number(objectId) + by + size) % size);
      // Typed loosely: the class names itself.
      const call = objects as unknown as (target: unknown, id: string) => Next;
      const { status, error } = await call(ring, next).next.get({ query: { size, by, left: left - 1 } });
      if (status === 200) return "round";
      const { code } = (error?.value ?? {}) as { code?: string }; // a problem document, where it is ours
      const said = code === "call_cycle" ? "call_cycle" : "queue_full";
      throw new StatefulError(said, `The next said ${status} ${code}.`, { retryAfterMs: 1000 });
    },
    { query: steps },
  );
export default ring;
