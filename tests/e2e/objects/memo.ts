import { object } from "stateful-objects";

/** Remembers in memory alone. */
export default object("memo", { state: () => ({ count: 0 }) })
  .get("/", ({ state, host }) => ({ count: state.count, owner: host.id }))
  .post("/", ({ state, host }) => ({ count: ++state.count, owner: host.id }));
