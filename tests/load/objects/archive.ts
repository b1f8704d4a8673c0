/** A topic whose messages are kept for long, also while the object sleeps. */
import { object } from "stateful-objects";

const message = "x".repeat(1000);

export default object("archive", {
  idleAfterMs: 2000,
  topics: { news: { subscribe: "anyone", history: { count: 100, ageMs: 3_600_000 } } },
})
  .get("/", () => "here")
  .post("/say", ({ topics }) => {
    for (let n = 0; n < 8; n++) topics.publish("news", message);
    return "said";
  });
