import { linkVersions } from "../../infra/link/link-versions.ts";
import { fileOf, writeRecorded } from "./recorded.ts";
import { samples } from "./samples.ts";

/**
 * `bun run record-wire`: records what hosts of this build write to each other, as the newest version of the wire. A version that
 * was released is what it is: the first thing to do about a change is to raise `linkVersions.newest`.
 */
const { newest } = linkVersions;
const isOverwriting = process.argv.includes("--again");
if ((await Bun.file(fileOf(newest)).exists()) && !isOverwriting) {
  console.error(
    `Version ${newest} is recorded already. If hosts of it were ever released, raise linkVersions.newest in ` +
      "infra/link/link-versions.ts and say there what the new version brings. If not: bun run record-wire --again",
  );
  process.exit(1);
}
await writeRecorded(newest, samples);
console.log(`${samples.length} messages of version ${newest} are recorded in ${fileOf(newest)}.`);
