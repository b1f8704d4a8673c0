import { t } from "elysia";
import { object } from "../../../infra/object/index.ts";
import { sharedNowMs } from "../shared-clock.ts";

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

/** The same, with a state that is in the directory before its answer leaves. */
export const ledger = object("ledger", {
  state: () => ({ count: 0 }),
  durability: "storage",
  idleAfterMs: hour,
}).post(
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

/** As `echo`, and asleep soon after its last message. */
export const sleepy = object("sleepy", { idleAfterMs: 1000 }).ws("/live", {
  message(ws, message) {
    ws.send(message);
  },
});

/** Of one length, so that all messages are alike. */
const news = "0123456789abcdefghijklmnopqrstuvwxyz";

/** How a message of `rate` begins: with its number, in so many digits. */
export const rateDigits = 9;
export const rateBytes = 16 * 1024;
const padding = "x".repeat(rateBytes - rateDigits);

/** Topics that clients listen to at their addresses, and on connections for many. */
export const hall = object("hall", {
  idleAfterMs: hour,
  placement: { follow: false },
  topics: {
    live: { subscribe: "anyone" },
    kept: { subscribe: "anyone", history: { count: 1000 } },
    seats: { subscribe: "anyone", presence: { membersMax: 10_000 } },
    rate: { subscribe: "anyone", slowReaders: "conflate" },
  },
})
  .get("/", () => "here")
  .post(
    "/say/:topic/:count",
    ({ topics, params: { topic, count } }) => {
      for (let number = 0; number < count; number++) topics.publish(topic, news);
    },
    { params: t.Object({ id: t.String(), topic: t.UnionEnum(["live", "kept"]), count: t.Integer() }) },
  )
  .post(
    "/rates/:from/:count",
    ({ topics, params: { from, count } }) => {
      for (let number = from; number < from + count; number++)
        topics.publish("rate", `${String(number).padStart(rateDigits, "0")}${padding}`);
    },
    { params: t.Object({ id: t.String(), from: t.Integer(), count: t.Integer() }) },
  );

/** What an object knows of its last move. */
export interface Travel {
  /** When its gate was shut, and no handler open: `onMoveOut` begins. */
  leftAtMs: number;
  /** When the first event after that began. */
  firstEventAtMs: number;
}

export interface TravelAnswer extends Travel {
  readonly owner: string;
}

/** Tells of its moves. `writes`: as its gate shuts there is always something that is not in the database yet. */
function travellerClass(name: string, writes: boolean) {
  return object(name, {
    state: (): Travel => ({ leftAtMs: 0, firstEventAtMs: 0 }),
    idleAfterMs: hour,
    placement: { follow: false },
    onMoveOut({ state, storage }) {
      state.leftAtMs = sharedNowMs();
      state.firstEventAtMs = 0;
      if (writes) void storage.put("left", state.leftAtMs);
    },
  })
    .get("/", ({ state, host }) => travelled(state, host.id))
    .ws("/live", {
      message(ws) {
        ws.send(travelled(ws.data.state, ws.data.host.id));
      },
    });
}

function travelled(state: Travel, owner: string): TravelAnswer {
  if (state.firstEventAtMs === 0) state.firstEventAtMs = sharedNowMs();
  return { ...state, owner };
}

export const traveller = travellerClass("traveller", false);
export const writer = travellerClass("writer", true);
