/** Has nothing to do with any load. */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("bystander", { idleAfterMs: 600_000 })
  .get("/", ({ state }) => state)
  .ws("/live", {
    body: t.String(),
    message(ws, message) {
      ws.send(message);
    },
  });
