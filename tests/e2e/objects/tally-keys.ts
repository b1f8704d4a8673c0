import { t } from "elysia";
import { object } from "stateful-objects";

/** Counts under keys of its storage, with plain reads and writes. */
export default object("tally-keys", {})
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
    async ({ storage, body, host }) => {
      const earlier = await storage.get<number>(`applied/${body.key}`);
      const count = (await storage.get<number>("count")) ?? 0;
      if (earlier !== undefined) return { value: earlier, count, isRepeat: true, owner: host.id };
      const value = count + 1;
      // In one turn, so in one commit.
      await Promise.all([storage.put("count", value), storage.put(`applied/${body.key}`, value)]);
      return { value, count: value, isRepeat: false, owner: host.id };
    },
    { body: t.Object({ client: t.String(), key: t.String() }) },
  );
