import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { Memory } from "../memory.ts";
import type { ObjectsSetup } from "../servers/objects-in-memory.ts";
import { Stage } from "../stage.ts";

const objects = 100_000;
const bytesBesideStateMax = 1024;
/** Each takes seconds and differs little from the next. */
const roundsMax = 3;

/** Bytes of a live idle object, against its state in a Map: the difference is what we add. */
export const objectMemory: Measure = {
  name: "object-memory",
  async run({ rounds }) {
    const pairs: { readonly ours: Memory; readonly reference: Memory }[] = [];
    for (let round = 0; round < Math.min(rounds, roundsMax); round++) {
      pairs.push({ ours: await growthOf("host"), reference: await growthOf("map") });
    }
    return (["heapBytes", "residentBytes"] as const).map((kind) => {
      const perObject = pairs.map(({ ours, reference }) => ({
        ours: ours[kind] / objects,
        reference: reference[kind] / objects,
      }));
      const measure = `idle object, ${kind === "heapBytes" ? "heap" : "resident"}, of 100,000`;
      return withGoal(costFigure({ measure, unit: "B", against: "{} in a Map" }, perObject));
    });
  },
};

function growthOf(kind: ObjectsSetup["kind"]): Promise<Memory> {
  return Stage.with(async (stage) => {
    const child = await stage.start("servers/objects-in-memory.ts", { kind, objects }, "server");
    return child.ask<Memory>({});
  });
}

function withGoal(figure: Figure): Figure {
  const beside = figure.ours - figure.reference;
  const text = `≤ ${bytesBesideStateMax} B beside: ${Math.round(beside)}`;
  return { ...figure, goal: { text, isMet: beside <= bytesBesideStateMax } };
}
