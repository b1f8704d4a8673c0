import { type Figure, type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";

const connections = 64;

/** The same call through an edge whose owner is another host, against the call at the owner. Both hosts share a core. */
export const remoteHttp: Measure = {
  name: "remote-http",
  async run(stage, pace) {
    const { edge, owner } = await stage.edgeAndOwner();
    const figures: Figure[] = [];
    for (const method of ["GET", "POST"] as const) {
      const load = { method, objects: 1, connections };
      const sides = [
        await stage.httpSide(load, edge, [edge, owner]),
        await stage.httpSide(load, owner),
      ] as const;
      const head = { measure: `remote ${method}, 1 object`, against: "local" };
      figures.push(rateFigure(head, await compare(pace, ...sides)));
    }
    return figures;
  },
};
