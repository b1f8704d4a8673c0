import { t } from "elysia";
import { object } from "stateful-objects";

/** What it does wrong with a client's message, by the client's number of it. */
const faults: Readonly<Record<number, "no echo" | "two echoes" | "not published" | "number again">> = {
  5: "no echo",
  8: "two echoes",
  11: "not published",
  14: "number again",
};

/** Does on purpose what the machinery must never do, so that a test can see that it would be seen. */
export default object("talk-faulty", { state: () => ({ life: "only", number: 0 }) })
  .get("/", ({ host }) => ({ owner: host.id }))
  .get("/counted", () => ({ life: "only", count: 0, counted: {}, twice: [] }))
  .ws("/live", {
    body: t.Object({ client: t.String(), n: t.Integer() }),
    open(ws) {
      const { state, host } = ws.data;
      ws.subscribe("all");
      ws.send({ kind: "welcome", ...state, owner: host.id });
    },
    message(ws, { client, n }) {
      const { state, host, topics } = ws.data;
      // Of one client only: the others are to be found innocent.
      const fault = client === "c1" ? faults[n] : undefined;
      if (fault !== "number again") state.number += 1;
      const heard = { client, n, ...state, owner: host.id };
      if (fault !== "not published") topics.publish("all", { kind: "said", ...heard });
      if (fault !== "no echo") ws.send({ kind: "echo", ...heard });
      if (fault === "two echoes") ws.send({ kind: "echo", ...heard });
    },
  });
