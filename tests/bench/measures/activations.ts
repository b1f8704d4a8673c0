import { type Figure, type Measure, rateFigure } from "../figure.ts";
import type { LeaseQuestion } from "../load-leases.ts";
import { compare } from "../pace.ts";
import { Stage, sideOf } from "../stage.ts";

/** Enough that batches fill; a single caller waits for one round trip to the database each time. */
const connections = 512;

/** Fresh objects on a real libSQL server: the directory alone, and end to end. */
export const activations: Measure = {
  name: "activations",
  run: (pace) =>
    Stage.with(async (stage) => {
      const database = await stage.database();
      const { url } = database.ready;
      const taker = await stage.start("load-leases.ts", { url }, "server");
      const figures: Figure[] = [];
      for (const objects of [200, 1000]) {
        const side = (kind: LeaseQuestion["kind"]) => sideOf(taker, [database], { kind, objects });
        const measure = `leases taken, ${objects.toLocaleString("en-US")} in a batch`;
        const head = {
          measure,
          against: "a statement each",
          judgedBy: "rate" as const,
          ...(objects === 1000 && { ratioMin: 10 }),
        };
        figures.push(rateFigure(head, await compare(pace, side("set"), side("each"))));
      }
      const [ours, reference] = [await stage.host({ directoryUrl: url }), await stage.plainElysia()];
      const load = { method: "GET", objects: "fresh", connections } as const;
      const sides = [await stage.httpSide(load, ours), await stage.httpSide(load, reference)] as const;
      const head = { measure: "first GET of fresh objects", against: "Elysia, in memory" };
      figures.push(rateFigure(head, await compare(pace, ...sides)));
      return figures;
    }),
};
