import { object } from "stateful-objects";

/** More than anybody misses who is away for as long as a run lets its clients be. */
const history = { count: 2_000, ageMs: 600_000, bytes: 1024 * 1024 } as const;

/**
 * An object with two topics that keep their histories: `news`, which its handler publishes, and `wall`, which clients do, and
 * which tells who listens. Every class of this folder that is called a board is one of these, with another durability.
 */
export function boardClass(name: string, durability: "memory" | "storage") {
  return object(name, {
    durability,
    state: () => ({ count: 0 }),
    // Where it is, and when it moves, is for the run to say.
    placement: { follow: false },
    topics: {
      news: { subscribe: "anyone", history },
      wall: {
        subscribe: "anyone",
        publish: "clients",
        history,
        presence: { data: ({ request }) => new URL(request.url).searchParams.get("name") },
      },
    },
  })
    .get("/", ({ host }) => ({ owner: host.id }))
    .post("/news/:message", ({ state, topics, params: { message } }) => {
      state.count += 1;
      topics.publish("news", { message });
      return { count: state.count };
    });
}
