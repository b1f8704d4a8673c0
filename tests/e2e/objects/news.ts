import { object } from "stateful-objects";

const history = { count: 10_000, ageMs: 3_600_000, bytes: 10_000_000 };

/** Tells whoever listens of each entry, and counts them. */
export default object("news", {
  durability: "storage",
  state: () => ({ said: 0 }),
  topics: { entries: { subscribe: "anyone", history } },
})
  .get("/", ({ state, host }) => ({ said: state.said, owner: host.id }))
  .post("/:entry", ({ params: { entry }, state, topics, host }) => {
    topics.publish("entries", entry);
    state.said += 1;
    return { owner: host.id };
  });
