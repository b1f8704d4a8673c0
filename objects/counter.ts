/**
 * State. A counter with one id is alive once in the world, so a handler may change its state in place: no lock, no
 * transaction, no race. It lives in memory and begins again at 0 after a minute without a request.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("counter", {
  state: () => ({ count: 0 }),
  topics: { count: { subscribe: "anyone" } },
})
  .get("/", ({ state }) => state)
  .post(
    "/increment",
    ({ state, body, topics }) => {
      state.count += body?.by ?? 1;
      topics.publish("count", state.count);
      return state;
    },
    { body: t.Optional(t.Object({ by: t.Integer() })) },
  )
  .ws("/live", {
    open(ws) {
      ws.subscribe("count");
      ws.send(ws.data.state.count);
    },
  });
