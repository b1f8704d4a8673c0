import { t } from "elysia";
import { object } from "stateful-objects";

/** Nested, as authors' state is: what each client has had applied, by its idempotency keys. */
interface TallyState {
  count: number;
  clients: Record<string, { applied: Map<string, number> }>;
}

/** Counts in its durable state. */
export default object("tally-state", {
  state: (): TallyState => ({ count: 0, clients: {} }),
  durability: "storage",
})
  .get("/", ({ state, host }) => ({ count: state.count, owner: host.id }))
  .get("/applied", ({ state }) => ({
    count: state.count,
    applied: Object.values(state.clients).flatMap(({ applied }) => [...applied]),
  }))
  .post(
    "/increment",
    ({ state, body, host }) => {
      state.clients[body.client] ??= { applied: new Map() };
      const { applied } = state.clients[body.client] ?? { applied: new Map() };
      const earlier = applied.get(body.key);
      if (earlier === undefined) {
        state.count += 1;
        applied.set(body.key, state.count);
      }
      const value = earlier ?? state.count;
      return { value, count: state.count, isRepeat: earlier !== undefined, owner: host.id };
    },
    { body: t.Object({ client: t.String(), key: t.String() }) },
  );
