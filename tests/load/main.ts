import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { readArguments } from "./arguments.ts";
import { linesOf } from "./report.ts";
import { runScenario, type ScenarioResult } from "./scenario-run.ts";
import { scenarios } from "./scenarios/index.ts";

/** `bun run load [--only name] [--size full|small] [--json FILE]`: what a host does under more than it can take (`README.md`). */
async function main(): Promise<void> {
  const { only, size, jsonFile } = readArguments(process.argv.slice(2));
  const chosen = scenarios.filter(
    ({ name }) => only.length === 0 || only.some((part) => name.includes(part)),
  );
  if (chosen.length === 0)
    throw new Error(`--only names one of ${scenarios.map(({ name }) => name).join(", ")}.`);
  const results: ScenarioResult[] = [];
  for (const scenario of chosen) {
    const result = await runScenario(scenario, size);
    results.push(result);
    console.log(linesOf(result).join("\n"));
  }
  await mkdir(dirname(jsonFile), { recursive: true });
  const about = { at: new Date().toISOString(), bun: Bun.version, platform: process.platform, size };
  await Bun.write(jsonFile, `${JSON.stringify({ ...about, results }, null, 2)}\n`);
  const failed = results.filter(({ failures }) => failures.length > 0);
  console.log(`${results.length - failed.length} of ${results.length} scenarios held.`);
  if (failed.length > 0) process.exitCode = 1;
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
