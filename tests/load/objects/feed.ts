/** A topic of each kind, and whoever asks makes it say something. */
import { t } from "elysia";
import { object } from "stateful-objects";

const open = { subscribe: "anyone" } as const;
const history = { count: 1000, bytes: 4 * 1024 * 1024 };

export default object("feed", {
  state: () => ({ said: 0 }),
  topics: {
    close: { ...open, slowReaders: "close" },
    "close-kept": { ...open, slowReaders: "close", history },
    oldest: { ...open, slowReaders: "drop-oldest" },
    "oldest-kept": { ...open, slowReaders: "drop-oldest", history },
    latest: { ...open, slowReaders: "conflate" },
    "latest-kept": { ...open, slowReaders: "conflate", history },
  },
})
  .get("/", ({ state }) => state)
  .post(
    "/say/:topic/:count/:bytes",
    ({ state, topics, params }) => {
      const message = "x".repeat(params.bytes);
      for (let n = 0; n < params.count; n++) topics.publish(params.topic, message);
      state.said += params.count;
      return "said";
    },
    {
      params: t.Object({
        id: t.String(),
        topic: t.UnionEnum(["close", "close-kept", "oldest", "oldest-kept", "latest", "latest-kept"]),
        count: t.Integer(),
        bytes: t.Integer(),
      }),
    },
  );
