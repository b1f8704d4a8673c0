/**
 * What the compiler knows of a class. Nothing here runs: `bun run types` checks it, and each `@ts-expect-error` fails
 * that check once the mistake on the line below it compiles.
 */
import { t } from "elysia";
import {
  type AlarmInfo,
  type Alarms,
  type ObjectHandles,
  type ObjectStorage,
  object,
  type StorageKeys,
  type Topics,
} from "stateful-objects";
import { same } from "./same.ts";

interface Score {
  points: number;
  readonly players: string[];
}
const makeScore = (): Score => ({ points: 0, players: [] });
const makeDatabase = async () => ({ query: (sql: string) => [sql] });

// -- state, from its factory to every handler and hook

export const game = object("game", {
  state: makeScore,
  resources: { database: makeDatabase },
  topics: {
    score: { subscribe: ({ state, request, topic }) => state.players.includes(request.url + topic) },
  },
  async onStart({ state, host, reason, objectId }) {
    same<typeof state, Score>(true);
    same<typeof reason, "create" | "wake" | "move" | "crash">(true);
    same<typeof objectId, string>(true);
    const database = await host.resources.database;
    state.players.push(...database.query("SELECT name FROM players"));
  },
  onStop({ state, reason }) {
    same<typeof state, Score>(true);
    same<typeof reason, "idle" | "drain" | "reload">(true);
  },
})
  .derive(({ state }) => ({ isOver: state.points > 100 }))
  .get("/", ({ state }) => state)
  .get("/over", ({ isOver }) => isOver)
  .post(
    "/points",
    ({ state, body, topics, host }) => {
      same<typeof state, Score>(true);
      same<typeof body, { player: string; points: number }>(true);
      topics satisfies Topics<{ score: unknown }>;
      same<typeof host.resources.database, ReturnType<typeof makeDatabase>>(true);
      state.points += body.points;
      return state;
    },
    { body: t.Object({ player: t.String(), points: t.Number() }) },
  )
  .ws("/live", {
    body: t.Object({ cheer: t.String() }),
    open(ws) {
      same<typeof ws.data.state, Score>(true);
      ws.subscribe("score");
    },
    message(ws, message) {
      same<typeof message, { cheer: string }>(true);
      ws.data.topics.publish("score", message.cheer);
    },
  })
  .group("/teams", (app) =>
    app.get("/:team", ({ state, params }) => ({ team: params.team, points: state.points })),
  );

same<ObjectHandles<Score, Record<never, never>>["state"], Score>(true);

// -- storage and alarms

interface Visit {
  readonly at: Date;
}

object("visits", {
  state: makeScore,
  durability: "storage",
  version: 2,
  limits: { valueBytesMax: 1_000, storageBytesMax: Number.POSITIVE_INFINITY, alarmsMax: 3 },
  async migrate(storage, from, state) {
    same<typeof storage, StorageKeys>(true);
    same<typeof from, number>(true);
    same<typeof state, Score>(true);
    await storage.put("visit", { at: new Date() } satisfies Visit);
  },
  async onAlarm({ name, payload, attempt, dueAt, state, storage, alarms }) {
    same<typeof name, string>(true);
    same<typeof payload, unknown>(true);
    same<typeof attempt, number>(true);
    same<typeof dueAt, Date>(true);
    same<typeof state, Score>(true);
    same<typeof storage, ObjectStorage>(true);
    same<typeof alarms, Alarms>(true);
  },
}).get("/", async ({ storage, alarms }) => {
  const visit = await storage.get<Visit>("visit");
  same<typeof visit, Visit | undefined>(true);
  const anything = await storage.get("visit");
  same<typeof anything, unknown>(true);
  const peeked = storage.peek<Visit>("visit");
  same<typeof peeked, { readonly value: Visit | undefined } | undefined>(true);
  const many = await storage.getMany<Visit>(["a", "b"]);
  same<typeof many, Map<string, Visit>>(true);
  const listed = await storage.list<Visit>({ prefix: "a", start: "a", end: "b", limit: 1, reverse: true });
  same<typeof listed, Map<string, Visit>>(true);
  await storage.putMany({ a: 1, b: new Map() });
  await storage.putMany(new Map([["a", 1]]));
  await storage.putMany([["a", 1]]);
  const existed = await storage.delete("a");
  same<typeof existed, boolean>(true);
  const deleted = await storage.deleteMany(["a"]);
  same<typeof deleted, number>(true);

  const result = await storage.transaction(async (tx) => {
    same<typeof tx, StorageKeys>(true);
    return { count: (await tx.get<number>("count")) ?? 0 };
  });
  same<typeof result, { count: number }>(true);
  const immediate = await storage.transaction(() => 7);
  same<typeof immediate, number>(true);
  await storage.transaction(async (tx) => {
    // @ts-expect-error transactions do not nest
    await tx.transaction(() => 1);
    // @ts-expect-error and have nothing to wait for before their end
    await tx.sync();
  });

  alarms.set("at", new Date());
  alarms.set("at", Date.now() + 1_000, { any: "payload" });
  alarms.set("after", { afterMs: 5 });
  alarms.set("every", { every: 60_000, startAt: new Date() });
  alarms.set("daily", { cron: "0 9 * * *", timeZone: "Europe/Berlin" });
  const alarm = alarms.get("at");
  same<typeof alarm, AlarmInfo | undefined>(true);
  const hadOne = alarms.delete("at");
  same<typeof hadOne, boolean>(true);
  return visit;
});

// -- what must not compile

// A field that the state does not have.
// @ts-expect-error `score` is not in Score
game.get("/wrong", ({ state }) => state.score);

// A field with a value of another type.
game.post("/wrong", ({ state }) => {
  // @ts-expect-error `points` is a number
  state.points = "ten";
});

// Another object in place of the state: it is changed in place, or the change would be lost.
game.post("/wrong", (context) => {
  // @ts-expect-error `state` cannot be assigned to
  context.state = makeScore();
});

// A resource that the class does not name.
// @ts-expect-error the resource is called `database`
game.get("/wrong", ({ host }) => host.resources.db);

// A state that is no object.
// @ts-expect-error a number is not an object
object("wrong", { state: () => 7 });

// A hook that expects another state than the factory makes.
// @ts-expect-error `points` is a number
object("wrong", { state: makeScore, onStart: ({ state }) => void state.points.length });

// A durability that does not exist.
// @ts-expect-error "memory", "snapshot" or "storage"
object("wrong", { durability: "for ever" });

// A strategy that nobody wrote.
// @ts-expect-error no such strategy
object("wrong", { placement: { strategy: "random" } });

// A limit that nobody keeps.
// @ts-expect-error the limit is called `queueLengthMax`
object("wrong", { limits: { queueMax: 1 } });

// A topic that anyone may write to on the server's behalf.
// @ts-expect-error "server" or "clients"
object("wrong", { topics: { score: { publish: "anyone" } } });

// A message on a socket that is not what the schema says.
game.ws("/wrong", {
  body: t.Object({ cheer: t.String() }),
  // @ts-expect-error `boo` is not in the schema
  message: (_ws, { boo }) => void boo,
});

// What storage and alarms are asked in the wrong way.
game.get("/wrong", async ({ storage, alarms }) => {
  // @ts-expect-error a key is text
  await storage.get(7);
  // @ts-expect-error nobody has checked what is stored: say which type it has
  (await storage.get("score")).points;
  // @ts-expect-error it may not be there
  (await storage.get<Score>("score")).points;
  // @ts-expect-error one key and one value; several are putMany's
  await storage.put({ a: 1 });
  // @ts-expect-error there is no such option
  await storage.list({ before: "a" });
  // @ts-expect-error a text is no time
  alarms.set("soon", "tomorrow");
  // @ts-expect-error a delay is called `afterMs`
  alarms.set("soon", { inMs: 5 });
  // @ts-expect-error `every` counts milliseconds
  alarms.set("soon", { every: "1 h" });
  // @ts-expect-error an alarm has a time
  alarms.set("soon");
});

// A handler of alarms that expects another payload than anybody can promise.
// @ts-expect-error a payload is unknown until it is looked at
object("wrong", { onAlarm: ({ payload }) => void payload.id });

// A migration to a version that is no number.
// @ts-expect-error a version is a number
object("wrong", { version: "2" });

// A migration that opens transactions: it runs in one.
// @ts-expect-error it has the keys, and no more
object("wrong", { version: 2, migrate: (storage) => storage.transaction(() => undefined) });

// The storage handle is the object's own.
game.post("/wrong", (context) => {
  // @ts-expect-error `storage` cannot be assigned to
  context.storage = undefined;
});

// Origins, as a browser sends them.
object("guarded", {
  origins: ["self", "null", "https://app.example", "https://*.app.example", "capacitor://localhost"],
});
object("shut", { origins: [] });
// @ts-expect-error an origin has a scheme
object("wrong", { origins: ["app.example"] });
// @ts-expect-error a list, also of one
object("wrong", { origins: "self" });
