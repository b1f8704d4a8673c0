import { t } from "elysia";
import { object } from "stateful-objects";

/** One firing, as the object has it in its durable state. */
export interface Fired {
  readonly name: string;
  readonly attempt: number;
  readonly region: string;
  /** When it was due, and how long after that the handler ran, by this machine's clock. */
  readonly dueAtMs: number;
  readonly lateMs: number;
}

/** Sets alarms, and remembers durably how they fired. Run by hosts of the test's process and by hosts of their own. */
export default object("clock", {
  state: (): { fired: Fired[] } => ({ fired: [] }),
  durability: "storage",
  idleAfterMs: 1000,
  onAlarm({ name, attempt, dueAt, payload, state, host }) {
    if (payload === "fail") throw new Error("It always fails.");
    const dueAtMs = typeof payload === "number" ? payload : dueAt.getTime();
    state.fired.push({ name, attempt, region: host.region, dueAtMs, lateMs: Date.now() - dueAtMs });
  },
})
  .get("/", ({ state }) => state.fired)
  .get("/alarms", ({ alarms }) => alarms.list())
  .post(
    "/set",
    ({ body, alarms }) => {
      // The payload is when it is due in the end, whatever becomes of its attempts.
      for (const [name, afterMs] of Object.entries(body)) {
        const dueAtMs = Date.now() + afterMs;
        alarms.set(name, dueAtMs, dueAtMs);
      }
      return "set";
    },
    { body: t.Record(t.String(), t.Number()) },
  )
  .post("/every/:ms", ({ params, alarms }) => {
    alarms.set("every", { every: Number(params.ms) });
    alarms.set("cron", { cron: "* * * * * *" });
    return "set";
  });
