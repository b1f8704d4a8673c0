/** Many sockets, which are answered. */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("crowd", { idleAfterMs: 1000 })
  .get("/", ({ sockets }) => ({ sockets: sockets.count }))
  .ws("/live", {
    body: t.String(),
    message(ws, message) {
      ws.send(message);
    },
  });
