import { t } from "elysia";
import { object, StatefulError } from "stateful-objects";

/** What no client may read of an error. */
export const told = "SELECT token FROM people -- at /srv/app/vault.ts:1:1 of 10.9.8.7";

/** Fails in every way in which an author's code can. */
export default object("vault", {
  durability: "storage",
  state: () => ({ opened: 0 }),
  limits: { bodyBytesMax: 1000, valueBytesMax: 1000 },
  topics: {
    news: { subscribe: "anyone", publish: "clients", schema: t.Object({ text: t.String() }) },
    inner: {},
  },
  onStart({ objectId }) {
    if (objectId === "sealed") throw new Error(told);
  },
})
  .get("/", ({ state, host }) => ({ opened: ++state.opened, owner: host.id }))
  .get("/thrown", () => {
    throw new Error(told);
  })
  .get("/caused", () => {
    throw new Error("outer", { cause: new TypeError(told) });
  })
  .get("/rejected", async () => Promise.reject(told))
  .get("/ours", () => {
    throw new StatefulError("forbidden", "Not here.", { cause: new Error(told) });
  })
  .get("/unclonable", ({ storage }) => storage.put("f", (() => told) as never)) // what the types do not see
  .get("/large", ({ storage }) => storage.put("large", told.repeat(100)))
  .get("/answered", () => ({ told }) as never, { response: t.Object({ number: t.Number() }) }) // breaks its own schema
  .post("/checked", ({ body }) => body.number, { body: t.Object({ number: t.Number() }) })
  .get("/cold", async ({ storage }) => (await storage.get("cold")) ?? "nothing")
  .get("/called", () => fetch("http://127.0.0.1:1/nobody"))
  // What no author should do: its host logs all that it knows and was told.
  .get("/careless", ({ request: { url, headers } }) => {
    throw new Error(JSON.stringify([process.env, url, [...headers]]));
  })
  .ws("/live", {
    message() {
      throw new Error(told);
    },
  });
