import { costFigure, type Measure } from "../figure.ts";
import type { Server, Stage } from "../stage.ts";

/** From the start of the process to its first answer, against plain Elysia. The first answer of ours starts an object. */
export const startTime: Measure = {
  name: "start-time",
  async run(stage, { rounds }) {
    const pairs: { readonly ours: number; readonly reference: number }[] = [];
    // The first start of each reads its files from the disk.
    await firstAnswerMs(stage, () => stage.host());
    await firstAnswerMs(stage, () => stage.plainElysia());
    for (let round = 0; round < rounds; round++) {
      const ours = await firstAnswerMs(stage, () => stage.host());
      pairs.push({ ours, reference: await firstAnswerMs(stage, () => stage.plainElysia()) });
    }
    return [costFigure({ measure: "start to first answer", unit: "ms", against: "Elysia" }, pairs)];
  },
};

async function firstAnswerMs(stage: Stage, start: () => Promise<Server>): Promise<number> {
  const startMs = performance.now();
  const server = await start();
  const response = await fetch(`http://127.0.0.1:${server.ready.port}/counter/first`);
  await response.arrayBuffer();
  const elapsedMs = performance.now() - startMs;
  if (!response.ok) throw new Error(`The first answer has the status ${response.status}.`);
  await stage.end(server);
  return elapsedMs;
}
