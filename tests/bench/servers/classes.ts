import { t } from "elysia";
import { object } from "../../../infra/object/index.ts";

/** The objects that are measured. `plain-elysia.ts` and `plain-bun.ts` do the same without us. */
const hour = 60 * 60 * 1000;

export const counter = object("counter", { state: () => ({ count: 0 }), idleAfterMs: hour })
  .get("/", ({ state }) => state)
  .post(
    "/add",
    ({ state, body }) => {
      state.count += body.by;
      return state;
    },
    { body: t.Object({ by: t.Integer() }) },
  );

export const echo = object("echo").ws("/live", {
  message(ws, message) {
    ws.send(message);
  },
});

export const room = object("room").ws("/live", {
  open(ws) {
    ws.subscribe("chat");
  },
  message(ws, message) {
    ws.data.topics.publish("chat", message);
  },
});

/** Nothing but itself: what an object costs beside its author's state. */
export const empty = object("empty", { state: () => ({}), idleAfterMs: hour }).get("/", () => "here");
