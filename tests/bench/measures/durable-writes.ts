import { type Figure, type Measure, rateFigure } from "../figure.ts";
import type { CommitQuestion } from "../load-commits.ts";
import type { HttpLoad } from "../load-http.ts";
import { compare } from "../pace.ts";
import { Stage, sideOf } from "../stage.ts";

const connections = 64;

/**
 * Increments of `durability: "storage"` over HTTP, each answered when it is in a real libSQL server, against what that
 * server does with plain SQL. Half of the clients wait for the commit in flight while the other half gather for the next, so
 * twice as many clients as the ceiling has rows in a batch make batches of the same size.
 */
export const durableWrites: Measure = {
  name: "durable-writes",
  run: (pace) =>
    Stage.with(async (stage) => {
      const database = await stage.database();
      const { url } = database.ready;
      const host = await stage.host({ directoryUrl: url });
      const plain = await stage.start("load-commits.ts", { url }, "server");
      const plainSide = (kind: CommitQuestion["kind"], rows: number) =>
        sideOf(plain, [database], { kind, rows });
      const figureOf = (
        load: Pick<HttpLoad, "objects" | "connections">,
        reference: { kind: CommitQuestion["kind"]; rows: number; ratioMin: number; against: string },
      ): Promise<Figure> =>
        Stage.with(async (loads) => {
          const { kind, rows, against, ratioMin } = reference;
          const ours = await loads.httpSide({ ...load, className: "ledger", method: "POST" }, host);
          const who = load.connections === 1 ? "1 client" : `${load.connections} clients`;
          const what = load.objects === 1 ? "1 object" : `${load.objects} objects`;
          const head = { measure: `durable POST, ${what}, ${who}`, against, ratioMin };
          return rateFigure({ ...head, judgedBy: "rate" }, await compare(pace, ours, plainSide(kind, rows)));
        });
      const single = { kind: "single", rows: 100, against: "a commit each" } as const;
      const set = { kind: "set", rows: connections, against: `${connections} rows a commit` } as const;
      return [
        await figureOf({ objects: 100, connections: 2 * connections }, { ...set, ratioMin: 0.5 }),
        await figureOf({ objects: 1, connections }, { ...single, ratioMin: 15 }),
        await figureOf({ objects: 100, connections }, { ...single, ratioMin: 15 }),
        // One after the other, rates are latencies: 1.3 commits of time is 0.77 of the rate.
        await figureOf({ objects: 1, connections: 1 }, { ...single, rows: 1, ratioMin: 1 / 1.3 }),
      ];
    }),
};
