/** Topics that nobody has declared, of any name. */
import { t } from "elysia";
import { object } from "stateful-objects";

const counts = t.Object({ id: t.String(), from: t.Integer(), count: t.Integer() });

export default object("hub", { state: () => ({ refused: 0 }) })
  .get("/", ({ state, sockets }) => ({ ...state, sockets: sockets.count }))
  .post(
    "/publish/:from/:count",
    ({ topics, params }) => {
      for (let n = params.from; n < params.from + params.count; n++) topics.publish(`topic-${n}`, "news");
      return "published";
    },
    { params: counts },
  )
  .ws("/many/:from/:count", {
    params: counts,
    open(ws) {
      const { from, count } = ws.data.params;
      for (let n = from; n < from + count; n++) {
        try {
          ws.subscribe(`topic-${n}`);
        } catch (error) {
          ws.data.state.refused += 1;
          ws.send((error as { code?: string }).code ?? "unknown"); // a StatefulError has one
          return;
        }
      }
    },
  });
