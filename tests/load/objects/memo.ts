/** A count that sleep forgets. */
import { object } from "stateful-objects";

export default object("memo", { state: () => ({ count: 0 }), idleAfterMs: 2000 })
  .get("/", ({ state }) => state)
  .post("/add", ({ state }) => {
    state.count += 1;
    return state;
  });
