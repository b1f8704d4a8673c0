import { type Figure, type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";
import { Stage } from "../stage.ts";

const connections = 64;

/** A call of a live object on the host that owns it, against the same routes in plain Elysia. */
export const localHttp: Measure = {
  name: "local-http",
  run: (pace) =>
    Stage.with(async (stage) => {
      const [ours, reference] = [await stage.host(), await stage.plainElysia()];
      const figureOf = (method: "GET" | "POST", objects: number): Promise<Figure> =>
        Stage.with(async (loads) => {
          const load = { method, objects, connections };
          const ourSide = await loads.httpSide(load, ours);
          const comparison = await compare(pace, ourSide, await loads.httpSide(load, reference));
          const measure = `local ${method}, ${objects === 1 ? "1 object" : "1,000 objects"}`;
          return rateFigure({ measure, against: "Elysia", ratioMin: 0.9 }, comparison);
        });
      return [
        await figureOf("GET", 1),
        await figureOf("POST", 1),
        await figureOf("GET", 1000),
        await figureOf("POST", 1000),
      ];
    }),
};
