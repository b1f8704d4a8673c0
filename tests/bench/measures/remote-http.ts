import { type Figure, type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";
import { Stage } from "../stage.ts";

const connections = 64;

/** The same call through an edge whose owner is another host, against the call at the owner. Both hosts share a core. */
export const remoteHttp: Measure = {
  name: "remote-http",
  run: (pace) =>
    Stage.with(async (stage) => {
      const { edge, owner } = await stage.edgeAndOwner();
      const figureOf = (method: "GET" | "POST"): Promise<Figure> =>
        Stage.with(async (loads) => {
          const load = { method, objects: 1, connections };
          const remote = await loads.httpSide(load, edge, [edge, owner]);
          const comparison = await compare(pace, remote, await loads.httpSide(load, owner));
          return rateFigure({ measure: `remote ${method}, 1 object`, against: "local" }, comparison);
        });
      return [await figureOf("GET"), await figureOf("POST")];
    }),
};
