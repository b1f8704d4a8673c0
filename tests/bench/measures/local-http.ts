import { type Figure, type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";

const connections = 64;

/** A call of a live object on the host that owns it, against the same routes in plain Elysia. */
export const localHttp: Measure = {
  name: "local-http",
  async run(stage, pace) {
    const [ours, reference] = [await stage.host(), await stage.plainElysia()];
    const figures: Figure[] = [];
    for (const objects of [1, 1000]) {
      for (const method of ["GET", "POST"] as const) {
        const load = { method, objects, connections };
        const sides = [await stage.httpSide(load, ours), await stage.httpSide(load, reference)] as const;
        const measure = `local ${method}, ${objects.toLocaleString("en-US")} object${objects === 1 ? "" : "s"}`;
        const head = { measure, against: "Elysia", ratioMin: 0.9 };
        figures.push(rateFigure(head, await compare(pace, ...sides)));
      }
    }
    return figures;
  },
};
