/** A count that nothing forgets. */
import { object } from "stateful-objects";

export default object("ledger", { state: () => ({ count: 0 }), durability: "storage", idleAfterMs: 2000 })
  .get("/", ({ state }) => state)
  .post("/add", ({ state }) => {
    state.count += 1;
    return state;
  });
