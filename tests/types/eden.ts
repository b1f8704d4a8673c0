/** What Eden and calls between objects know of a class, without generating code. See `author-api.ts`. */
import { treaty } from "@elysiajs/eden";
import { type Objects, object } from "stateful-objects";
import type counter from "../../objects/counter.ts";
import { game } from "./author-api.ts";
import { same } from "./same.ts";

// -- a client of a host

export async function clients(): Promise<void> {
  const api = treaty<typeof counter>("http://localhost:8080");
  const { data, error } = await api.counter({ id: "a" }).get();
  same<typeof data, { count: number } | null>(true);
  const answer = await api.counter({ id: "a" }).increment.post({ by: 2 });
  same<NonNullable<typeof answer.data>["count"], number>(true);
  if (error) error.value satisfies unknown;

  // The optional body may be left out.
  await api.counter({ id: "a" }).increment.post();
  // @ts-expect-error a wrong body: `by` is a number
  await api.counter({ id: "a" }).increment.post({ by: "two" });
  // @ts-expect-error a wrong route
  await api.counter({ id: "a" }).decrement.post();
  // @ts-expect-error a wrong method
  await api.counter({ id: "a" }).increment.get();
  // @ts-expect-error a wrong class
  await api.clock({ id: "a" }).get();
  // @ts-expect-error an object has an id
  await api.counter.get();

  const games = treaty<typeof game>("http://localhost:8080").game({ id: "final" });
  const points = await games.points.post({ player: "ada", points: 3 });
  same<NonNullable<typeof points.data>["players"], string[]>(true);
  const team = await games.teams({ team: "red" }).get();
  same<NonNullable<typeof team.data>["team"], string>(true);
  // @ts-expect-error a body that lacks a field
  await games.points.post({ player: "ada" });

  const live = games.live.subscribe();
  live.send({ cheer: "hurray" });
  // @ts-expect-error a message that the schema refuses
  live.send({ boo: "no" });
}

// -- calls from one object to another

declare const objects: Objects;

export async function callsToOtherObjects(counterClass: typeof counter): Promise<void> {
  const { data } = await objects(counterClass, "a").increment.post({ by: 1 });
  same<typeof data, { count: number } | null>(true);
  const { data: state } = await objects(game, "final").get();
  same<NonNullable<typeof state>["points"], number>(true);

  // @ts-expect-error a wrong body
  await objects(counterClass, "a").increment.post({ by: "two" });
  // @ts-expect-error a wrong route
  await objects(counterClass, "a").nothing.get();
  // @ts-expect-error an id is text
  await objects(counterClass, 7).get();
  // @ts-expect-error a name is not a class
  await objects("counter", "a").get();
}

export const caller = object("caller").get("/", async ({ objects }) => {
  const { data } = await objects(game, "final").over.get();
  same<typeof data, boolean | null>(true);
  return data;
});
