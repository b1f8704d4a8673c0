/**
 * Alarms. A list of reminders that each ring at their time, though nobody asks and whatever host is still there. An alarm
 * is durable and fires at least once, so ringing twice must do no harm: here it only marks the reminder as done, and tells
 * whoever listens.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

interface Reminder {
  readonly text: string;
  readonly at: string;
  isDone: boolean;
}

export default object("reminder", {
  state: (): { reminders: Record<string, Reminder> } => ({ reminders: {} }),
  durability: "storage",
  topics: { rings: { subscribe: "anyone" } },

  onAlarm({ name, state, topics, attempt }) {
    const reminder = state.reminders[name];
    if (!reminder) return;
    reminder.isDone = true;
    topics.publish("rings", { text: reminder.text, attempt });
  },
})
  .get("/", ({ state, alarms }) => ({
    reminders: Object.values(state.reminders),
    next: alarms.list()[0]?.dueAt,
  }))
  .post(
    "/",
    ({ state, alarms, body: { text, inSeconds } }) => {
      const name = crypto.randomUUID();
      const at = new Date(Date.now() + inSeconds * 1000);
      state.reminders[name] = { text, at: at.toISOString(), isDone: false };
      alarms.set(name, at);
      return state.reminders[name];
    },
    { body: t.Object({ text: t.String({ maxLength: 200 }), inSeconds: t.Number({ minimum: 0 }) }) },
  );
