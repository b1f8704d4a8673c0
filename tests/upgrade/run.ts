import { parseArgs } from "node:util";
import { seedOption, wholeNumberOption } from "../support/command-options.ts";
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
const seed = seedOption("--seed", values.seed);
const tree = await Tree.checkOut(values.from);
const replay = `bun run upgrade --from ${values.from} --clients ${values.clients} --answers ${values.answers} --seed ${seed}`;
console.log(`${replay}   (from ${tree.name})`);
let wrong = 1;
try {
  const clients = wholeNumberOption("--clients", values.clients, { min: 1 });
  const answers = wholeNumberOption("--answers", values.answers, { min: 1 });
  wrong = await runUpgrade({ seed, clients, answers, from: tree.path, to: undefined });
} finally {
  await tree.remove();
}
if (wrong > 0) console.error(`${wrong} phases went wrong. Replay: ${replay}`);
process.exit(wrong > 0 ? 1 : 0);
