import { t } from "elysia";
import { object, topic } from "stateful-objects";

/** Told by every handler of these classes, before it does anything, where it runs. */
export const witness: {
  accepted: (key: string, hostId: string) => void;
  setsAlarm: (key: string, name: string, dueAtMs: number) => void;
  rang: (key: string, name: string) => void;
} = { accepted: () => undefined, setsAlarm: () => undefined, rang: () => undefined };

/** Some handlers take their time: what is added says how long. */
const pauseMaxMs = 400;

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}

const history = { count: 10_000, ageMs: 3_600_000, bytes: 10_000_000 };
const operation = t.Object({ op: t.String(), by: t.Integer() });
const exchange = t.Object({ op: t.String(), expected: t.Integer(), next: t.Integer() });

/** A sum, and the operations that made it, in a state that is durable. Tells a topic of each of them. */
export const ledger = object("ledger", {
  state: (): { total: number; applied: string[] } => ({ total: 0, applied: [] }),
  durability: "storage",
  idleAfterMs: 1_500,
  topics: { entries: topic({ subscribe: "anyone", history }) },
})
  .get("/", ({ state, host, objectId }) => {
    witness.accepted(`ledger/${objectId}`, host.id);
    return state;
  })
  .post(
    "/add",
    async ({ body: { op, by }, state, topics, host, objectId }) => {
      witness.accepted(`ledger/${objectId}`, host.id);
      if (by % 3 === 0) await pause(by % pauseMaxMs);
      state.total += by;
      state.applied.push(op);
      topics.publish("entries", op);
      return { total: state.total };
    },
    { body: operation },
  )
  .post(
    "/exchange",
    ({ body: { op, expected, next }, state, topics, host, objectId }) => {
      witness.accepted(`ledger/${objectId}`, host.id);
      if (state.total !== expected) return { exchanged: false, total: state.total };
      state.total = next;
      state.applied.push(op);
      topics.publish("entries", op);
      return { exchanged: true, total: next };
    },
    { body: exchange },
  );

/** The same sum, in storage: each operation is a transaction. */
export const vault = object("vault", { durability: "memory", idleAfterMs: 4_000 })
  .get("/", async ({ storage, host, objectId }) => {
    witness.accepted(`vault/${objectId}`, host.id);
    const rows = await storage.list<number>();
    const applied = [...rows.keys()].filter((key) => key !== "total");
    return { total: rows.get("total") ?? 0, applied };
  })
  .post(
    "/add",
    async ({ body: { op, by }, storage, host, objectId }) => {
      witness.accepted(`vault/${objectId}`, host.id);
      return storage.transaction(async (transaction) => {
        const total = ((await transaction.get<number>("total")) ?? 0) + by;
        if (by % 3 === 0) await pause(by % pauseMaxMs);
        await transaction.put("total", total);
        await transaction.put(op, total);
        return { total };
      });
    },
    { body: operation },
  )
  .post(
    "/exchange",
    async ({ body: { op, expected, next }, storage, host, objectId }) => {
      witness.accepted(`vault/${objectId}`, host.id);
      return storage.transaction(async (transaction) => {
        const total = (await transaction.get<number>("total")) ?? 0;
        if (total !== expected) return { exchanged: false, total };
        await transaction.put("total", next);
        await transaction.put(op, next);
        return { exchanged: true, total: next };
      });
    },
    { body: exchange },
  );

/** Counts in memory alone: what a crash ends, and what a move must neither lose nor double. */
export const memo = object("memo", {
  state: () => ({ life: Math.random().toString(36).slice(2), count: 0 }),
  idleAfterMs: 60_000,
})
  .get("/", ({ state, host, objectId }) => {
    witness.accepted(`memo/${objectId}`, host.id);
    return state;
  })
  .post(
    "/add",
    ({ state, host, objectId }) => {
      witness.accepted(`memo/${objectId}`, host.id);
      state.count += 1;
      return { life: state.life, count: state.count };
    },
    { body: operation },
  );

/** Tells a topic what it hears, and keeps that in memory alone: a history that moves, sleeps, and ends in a crash; and who listens. */
export const board = object("board", {
  idleAfterMs: 1_500,
  topics: { entries: topic({ subscribe: "anyone", history, presence: true }) },
}).post(
  "/add",
  async ({ body: { op, by }, topics, host, objectId }) => {
    witness.accepted(`board/${objectId}`, host.id);
    if (by % 5 === 0) await pause(by % pauseMaxMs);
    topics.publish("entries", op);
    return { op };
  },
  { body: operation },
);

/** Says back what its sockets say. */
function echo(name: string, redeliver: boolean) {
  return object(name, { state: () => ({ heard: 0 }), idleAfterMs: 1_500, redeliver }).ws("/live", {
    body: t.String(),
    message(ws, text) {
      witness.accepted(`${name}/${ws.data.objectId}`, ws.data.host.id);
      ws.data.state.heard += 1;
      ws.send(text);
    },
  });
}

const talk = echo("talk", false);
/** Wants to hear again what a lost owner had not handled. */
const insist = echo("insist", true);

/** Rings, and remembers durably what has rung. */
const chime = object("chime", {
  state: (): { rung: Record<string, number> } => ({ rung: {} }),
  durability: "storage",
  idleAfterMs: 1_500,
  onAlarm: async ({ name, state, host, objectId }) => {
    witness.accepted(`chime/${objectId}`, host.id);
    witness.rang(`chime/${objectId}`, name);
    if (/[13579]$/.test(name)) await pause(pauseMaxMs);
    state.rung[name] = (state.rung[name] ?? 0) + 1;
  },
})
  .get("/", ({ state, host, objectId }) => {
    witness.accepted(`chime/${objectId}`, host.id);
    return state;
  })
  .post(
    "/set",
    ({ body: { name, afterMs }, alarms, host, objectId }) => {
      witness.accepted(`chime/${objectId}`, host.id);
      alarms.set(name, { afterMs });
      const dueAtMs = alarms.get(name)?.dueAt.getTime() ?? Number.NaN;
      witness.setsAlarm(`chime/${objectId}`, name, dueAtMs);
      return { name };
    },
    { body: t.Object({ name: t.String(), afterMs: t.Integer() }) },
  );

export const simulatedClasses = [ledger, vault, memo, board, talk, insist];
/** In runs with alarms: hosts with a class that has some look for those that are overdue. */
export const simulatedClassesWithAlarms = [...simulatedClasses, chime];
