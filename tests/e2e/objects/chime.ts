import { t } from "elysia";
import { object } from "stateful-objects";

/** One firing whose handler ended, as the object has it in its durable state. */
export interface Rung {
  readonly name: string;
  readonly attempt: number;
  readonly owner: string;
  readonly atMs: number;
}

/** Sets alarms, and remembers durably which of them have fired. */
export default object("chime", {
  state: (): { rung: Rung[] } => ({ rung: [] }),
  durability: "storage",
  idleAfterMs: 1_000,
  onAlarm({ name, attempt, state, host }) {
    state.rung.push({ name, attempt, owner: host.id, atMs: Date.now() });
  },
})
  .get("/", ({ state, host, alarms }) => ({ rung: state.rung, owner: host.id, left: alarms.list().length }))
  .post(
    "/",
    ({ body, alarms, host }) => {
      for (const [name, dueAtMs] of Object.entries(body)) alarms.set(name, dueAtMs);
      return { owner: host.id };
    },
    { body: t.Record(t.String(), t.Number()) },
  );
