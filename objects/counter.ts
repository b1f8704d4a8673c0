/**
 * State. A counter with one id is alive once in the world, so a handler may change its state in place: no lock, no
 * transaction, no race. `durability: "storage"` makes it safe, too: no answer and no message leaves before the change that
 * it tells of is in the directory, so whoever was told 7 will never see 6 again, whatever dies meanwhile.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("counter", {
  state: () => ({ count: 0 }),
  durability: "storage",
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
