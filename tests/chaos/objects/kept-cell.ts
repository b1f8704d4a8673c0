import { t } from "elysia";
import { object } from "stateful-objects";

/** What `cell` is, in its storage: read when it is needed, and changed in transactions. */
export default object("kept-cell", { placement: { follow: false } })
  .get("/count", async ({ storage, host }) => ({
    value: (await storage.get<number>("count")) ?? 0,
    owner: host.id,
  }))
  .post(
    "/count",
    ({ storage, body, host }) =>
      storage.transaction(async (tx) => {
        const value = ((await tx.get<number>("count")) ?? 0) + body.by;
        await tx.put("count", value);
        return { value, owner: host.id };
      }),
    { body: t.Object({ by: t.Number() }) },
  )
  .get("/text", async ({ storage, host }) => ({
    value: (await storage.get<string>("text")) ?? "",
    owner: host.id,
  }))
  .put(
    "/text",
    ({ storage, body, host }) => {
      void storage.put("text", body.value);
      return { value: body.value, owner: host.id };
    },
    { body: t.Object({ value: t.String() }) },
  )
  .patch(
    "/text",
    ({ storage, body, host }) =>
      storage.transaction(async (tx) => {
        const value = (await tx.get<string>("text")) ?? "";
        if (value === body.from) await tx.put("text", body.to);
        return { value, owner: host.id };
      }),
    { body: t.Object({ from: t.String(), to: t.String() }) },
  );
