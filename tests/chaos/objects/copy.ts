import { object } from "stateful-objects";

/** Counts in memory alone. Each life has a name: two that answer in turns are two live copies. */
export default object("copy", {
  state: () => ({ life: crypto.randomUUID(), count: 0 }),
  placement: { follow: false },
})
  .get("/count", ({ state, host }) => ({ value: state.count, life: state.life, owner: host.id }))
  .post("/count", ({ state, host }) => {
    state.count += 1;
    return { value: state.count, life: state.life, owner: host.id };
  });
