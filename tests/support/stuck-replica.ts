import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";

/** One process with an embedded replica of a server that never answers: watches its own loop, closes, and must end. */
const [url, replicaUrl] = process.argv.slice(2);
if (url === undefined || replicaUrl === undefined) throw new Error("Usage: stuck-replica.ts http:… file:…");

let longestPauseMs = 0;
let lastMs = performance.now();
const beat = setInterval(() => {
  longestPauseMs = Math.max(longestPauseMs, performance.now() - lastMs);
  lastMs = performance.now();
}, 5);

const directory = connectDirectory({ url, replicaUrl, commitLimitMs: 300, hintLimitMs: 300 });
for (let attempt = 0; attempt < 3; attempt += 1) {
  const answer = await directory.find([objectRef("room", "one")]).catch(() => undefined);
  if (answer !== undefined) throw new Error("nobody was there to answer");
}
clearInterval(beat);
const closingMs = performance.now();
await directory.close();
console.log(JSON.stringify({ longestPauseMs, closeMs: performance.now() - closingMs }));
// A thread inside a native call holds up the natural end of a Bun process, and nothing else; a process that stops says so.
process.exit(0);
