import { createInterface } from "node:readline";

/** The setup that the benchmark gave this process. */
export function setupOf<Setup>(): Setup {
  return JSON.parse(process.argv[2] ?? "{}") as Setup; // both ends of the line are in this folder
}

/** Says that this process is ready, answers each question, and ends the process when the benchmark is gone. */
export function converse<Question>(
  ready: object,
  answer: (question: Question) => object | Promise<object>,
  ended: () => Promise<void> = async () => undefined,
): void {
  say(ready);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => say(await answer(JSON.parse(line) as Question))); // the other end is child.ts
  lines.on("close", async () => {
    await ended();
    process.exit(0);
  });
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
