import { object } from "stateful-objects";

/** How long a transaction holds the object's storage. */
const busyMs = 20;
/** More than an object finds in its memory when it starts. */
const crowdKeys = 1_000;

/** Notes when it was changed last, in a state that is saved now and then. */
export default object("drift", { state: () => ({ atMs: 0, changes: 0 }), durability: "snapshot" })
  .get("/", ({ state, host }) => ({ ...state, owner: host.id }))
  .post("/", ({ state, host }) => {
    state.atMs = Date.now();
    state.changes += 1;
    return { ...state, owner: host.id };
  })
  .post("/busy", async ({ state, storage, host }) => {
    await storage.transaction(async (tx) => {
      await tx.put("busy", state.changes);
      await new Promise((resolve) => setTimeout(resolve, busyMs));
      state.atMs = Date.now();
      state.changes += 1;
    });
    return { ...state, owner: host.id };
  })
  .post("/crowd", async ({ storage, host }) => {
    await storage.putMany(Array.from({ length: crowdKeys }, (_, n) => [`key${n}`, n] as const));
    return { owner: host.id };
  })
  .post("/delete", async ({ state, storage, host }) => {
    state.atMs = Date.now();
    state.changes += 1;
    // Whether there is such a key has to be read.
    await storage.delete(`none${Math.random()}`);
    return { ...state, owner: host.id };
  });
