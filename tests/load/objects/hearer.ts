/** Hears slowly, and lets clients publish. */
import { t } from "elysia";
import { object, topic } from "stateful-objects";

export default object("hearer", {
  state: () => ({ heard: 0 }),
  limits: { messageBytesMax: 64 * 1024 },
  topics: { talk: topic({ subscribe: "anyone", publish: "clients" }) },
})
  .get("/", ({ state }) => state)
  .ws("/slow", {
    body: t.String(),
    async message(ws) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ws.data.state.heard += 1;
    },
  })
  .ws("/quick", {
    body: t.String(),
    message(ws) {
      ws.data.state.heard += 1;
    },
  });
