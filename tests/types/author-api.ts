/**
 * What the compiler knows of a class. Nothing here runs: `bun run types` checks it, and each `@ts-expect-error` fails
 * that check once the mistake on the line below it compiles.
 */
import { t } from "elysia";
import { type ObjectHandles, object, type Topics } from "stateful-objects";
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
      same<typeof topics, Topics>(true);
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

// A durability that does not exist, or not yet.
// @ts-expect-error only "memory"
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
