import { costFigure, type Measure } from "../figure.ts";
import { type Server, Stage } from "../stage.ts";

/** From the start of the process to its first answer, against plain Elysia. The first answer of ours starts an object. */
export const startTime: Measure = {
  name: "start-time",
  async run({ rounds }) {
    const ourStart = () => firstAnswerMs((stage) => stage.host());
    const plainStart = () => firstAnswerMs((stage) => stage.plainElysia());
    const pairs: { readonly ours: number; readonly reference: number }[] = [];
    // The first start of each reads its files from the disk.
    await ourStart();
    await plainStart();
    for (let round = 0; round < rounds; round++) {
      pairs.push({ ours: await ourStart(), reference: await plainStart() });
    }
    return [costFigure({ measure: "start to first answer", unit: "ms", against: "Elysia" }, pairs)];
  },
};

function firstAnswerMs(start: (stage: Stage) => Promise<Server>): Promise<number> {
  return Stage.with(async (stage) => {
    const startMs = performance.now();
    const { port } = (await start(stage)).ready;
    const response = await fetch(`http://127.0.0.1:${port}/counter/first`);
    await response.arrayBuffer();
    const elapsedMs = performance.now() - startMs;
    if (!response.ok) throw new Error(`The first answer has the status ${response.status}.`);
    return elapsedMs;
  });
}
