import { t } from "elysia";
import { object } from "stateful-objects";

/** Keeps entries in its state and, with who wrote them, in its storage; tells its sockets of each. */
export default object("ledger", {
  state: (): { entries: string[] } => ({ entries: [] }),
  durability: "storage",
  topics: { begun: {}, entries: { subscribe: "anyone" } },
})
  .get("/", async ({ state, storage, topics, host }) => ({
    owner: host.id,
    listeners: topics.subscriberCount("entries"),
    entries: state.entries,
    stored: Object.fromEntries(await storage.list<string>()),
  }))
  .post(
    "/:entry",
    async ({ params: { entry }, query, state, storage, topics, host }) => {
      topics.publish("begun", entry);
      // Until the test answers: what was asked for before a freeze goes on during it, or after it.
      if (query.after) await fetch(query.after);
      state.entries.push(entry);
      void storage.put(entry, query.value ?? host.id);
      topics.publish("entries", `${entry} by ${host.id}`);
      return { entry, owner: host.id };
    },
    { query: t.Object({ after: t.Optional(t.String()), value: t.Optional(t.String()) }) },
  )
  .ws("/live", {
    open(ws) {
      ws.subscribe("begun");
      ws.subscribe("entries");
    },
    message(ws, message) {
      const entry = String(message);
      ws.data.state.entries.push(entry);
      ws.send(`told ${entry} by ${ws.data.host.id}`);
    },
  });
