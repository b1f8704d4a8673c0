import { t } from "elysia";
import { object } from "stateful-objects";

/** Counts in transactions that wait in the middle, where nothing may come between or be half-done. */
export default object("tally-transaction", {})
  .get("/", async ({ storage, host }) => ({
    count: (await storage.get<number>("count")) ?? 0,
    owner: host.id,
  }))
  .get("/applied", async ({ storage }) => {
    const count = (await storage.get<number>("count")) ?? 0;
    const applied = await storage.list<number>({ prefix: "applied/" });
    return { count, applied: Array.from(applied, ([key, value]) => [key.slice("applied/".length), value]) };
  })
  .post(
    "/increment",
    ({ storage, body, host }) =>
      storage.transaction(async (tx) => {
        const earlier = await tx.get<number>(`applied/${body.key}`);
        const count = (await tx.get<number>("count")) ?? 0;
        if (earlier !== undefined) return { value: earlier, count, isRepeat: true, owner: host.id };
        await tx.put("count", count + 1);
        await new Promise((resolve) => setImmediate(resolve));
        await tx.put(`applied/${body.key}`, count + 1);
        return { value: count + 1, count: count + 1, isRepeat: false, owner: host.id };
      }),
    { body: t.Object({ client: t.String(), key: t.String() }) },
  );
