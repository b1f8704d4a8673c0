import { Elysia, t } from "elysia";
import { converse } from "../conversation.ts";
import { memoryInUse } from "../memory.ts";

/** The counter of `classes.ts` as anybody would write it for one process: Elysia on its native routes, state in a Map. */
const states = new Map<string, { count: number }>();

function stateOf(id: string): { count: number } {
  const known = states.get(id);
  if (known) return known;
  const state = { count: 0 };
  states.set(id, state);
  return state;
}

const app = new Elysia()
  .get("/counter/:id", ({ params }) => stateOf(params.id))
  .post(
    "/counter/:id/add",
    ({ params, body }) => {
      const state = stateOf(params.id);
      state.count += body.by;
      return state;
    },
    { body: t.Object({ by: t.Integer() }) },
  )
  .listen({ port: 0, hostname: "127.0.0.1" });

converse({ port: app.server?.port }, memoryInUse);
