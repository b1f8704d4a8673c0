/** Alarms that are all due at once. */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("chime", {
  state: () => ({ rung: 0 }),
  durability: "storage",
  idleAfterMs: 5000,
  onAlarm({ state }) {
    state.rung += 1;
  },
})
  .get("/", ({ state, alarms }) => ({ rung: state.rung, left: alarms.list().length }))
  .post(
    "/set/:count/:dueAtMs",
    ({ alarms, params }) => {
      for (let n = 0; n < params.count; n++) alarms.set(`alarm-${n}`, params.dueAtMs);
      return "set";
    },
    { params: t.Object({ id: t.String(), count: t.Integer(), dueAtMs: t.Number() }) },
  );
