import { t } from "elysia";
import { object } from "stateful-objects";

/** Takes whatever it is sent: a host that is fuzzed has one of each kind of address. */
export default object("probe", {
  durability: "storage",
  idleAfterMs: 1000,
  limits: { bodyBytesMax: 100_000, messageBytesMax: 10_000, socketsMax: 500 },
  state: () => ({ calls: 0 }),
  topics: {
    news: { subscribe: "anyone", publish: "clients", history: { count: 20, ageMs: 10_000 } },
    checked: { subscribe: "anyone", publish: "clients", schema: t.Object({ text: t.String() }) },
  },
})
  .get("/", ({ state, objectId }) => ({ id: objectId, calls: ++state.calls }))
  .get("/:x", ({ params, query, headers, cookie }) => [params, query, headers, Object.keys(cookie)])
  .post("/json", ({ body, storage }) => storage.put("json", body).then(() => body), {
    body: t.Unknown(),
  }) // anything that JSON says
  .post("/form", ({ body }) => body, { parse: "formdata" })
  .post("/text", ({ body }) => body, { parse: "text" })
  .post(
    "/stream",
    async ({ request }) => {
      let bytes = 0;
      for await (const chunk of request.body ?? []) bytes += chunk.length;
      return bytes;
    },
    { parse: "none" },
  )
  .ws("/live", { message: (ws, message) => void ws.send(message) });
