import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { readArguments } from "./arguments.ts";
import { isPinned } from "./cores.ts";
import type { Figure } from "./figure.ts";
import { measures } from "./measures/index.ts";
import { remarksOn, tableOf } from "./table.ts";

/**
 * `bun run bench [--only name] [--rounds N] [--seconds S] [--json FILE]`: how fast and how large we are, each as a ratio
 * to something well known that does the same on the same machine in the same minute. Absolute numbers are shown and mean
 * little elsewhere.
 */
async function main(): Promise<void> {
  const { only, pace, jsonFile } = readArguments(process.argv.slice(2));
  const chosen = measures.filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)));
  if (chosen.length === 0)
    throw new Error(`--only names one of ${measures.map(({ name }) => name).join(", ")}.`);
  if (!isPinned)
    console.log("Processes cannot be pinned to cores here: load and servers disturb each other.");
  const figures: Figure[] = [];
  for (const measure of chosen) {
    const startMs = performance.now();
    figures.push(...(await measure.run(pace)));
    console.error(`${measure.name}: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  }
  console.log(`\n${tableOf(figures)}\n`);
  for (const remark of remarksOn(figures)) console.log(remark);
  await mkdir(dirname(jsonFile), { recursive: true });
  const about = {
    at: new Date().toISOString(),
    bun: Bun.version,
    platform: process.platform,
    isPinned,
    pace,
  };
  await Bun.write(jsonFile, `${JSON.stringify({ ...about, figures }, null, 2)}\n`);
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
