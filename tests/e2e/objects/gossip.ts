import { object } from "stateful-objects";

const history = { count: 10_000, ageMs: 3_600_000, bytes: 10_000_000 };

/** What `news` is, in memory alone. */
export default object("gossip", {
  state: () => ({ said: 0 }),
  topics: { entries: { subscribe: "anyone", history } },
})
  .get("/", ({ state, host }) => ({ said: state.said, owner: host.id }))
  .post("/:entry", ({ params: { entry }, state, topics, host }) => {
    topics.publish("entries", entry);
    state.said += 1;
    return { owner: host.id };
  });
