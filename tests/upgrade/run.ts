import { parseArgs } from "node:util";
import { Tree } from "./tree.ts";
import { runUpgrade } from "./upgrade-run.ts";

/**
 * `bun run upgrade`: a rolling deploy from another commit to this tree, and back, under load:
 *
 *     bun run upgrade --from HEAD~20 --clients 12 --seed 7
 *
 * `--from`: what is deployed; default `HEAD`, so that the changes of this tree are what comes.
 */
const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    from: { type: "string", default: "HEAD" },
    seed: { type: "string" },
    clients: { type: "string", default: "9" },
    answers: { type: "string", default: "20" },
  },
});
const number = (name: string, text: string): number => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new Error(`--${name} is "${text}"; it must be a whole number from 1.`);
};
const seed = number("seed", values.seed ?? String(1 + Math.floor(Math.random() * 2 ** 31)));
const tree = await Tree.checkOut(values.from);
const replay = `bun run upgrade --from ${values.from} --clients ${values.clients} --answers ${values.answers} --seed ${seed}`;
console.log(`${replay}   (from ${tree.name})`);
let wrong = 1;
try {
  const clients = number("clients", values.clients);
  const answers = number("answers", values.answers);
  wrong = await runUpgrade({ seed, clients, answers, from: tree.path, to: undefined });
} finally {
  await tree.remove();
}
if (wrong > 0) console.error(`${wrong} phases went wrong. Replay: ${replay}`);
process.exit(wrong > 0 ? 1 : 0);
