import { afterAll, beforeAll, expect, test } from "bun:test";
import { LoadHost } from "./load-host.ts";
import { tellTrust } from "../support/trust-line.ts";
import { figuresOf, linesOf } from "./report.ts";
import { runScenario, type ScenarioResult } from "./scenario-run.ts";
import { fastPublisher } from "./scenarios/fast-publisher.ts";
import { messageFlood } from "./scenarios/floods.ts";
import { hugeBodies } from "./scenarios/huge-bodies.ts";
import { idsInMemory } from "./scenarios/many-ids.ts";
import { socketsAsleep } from "./scenarios/many-sockets.ts";
import { openRequests, slowLoris } from "./scenarios/open-requests.ts";
import { fastStreams, slowSockets, slowStreams } from "./scenarios/slow-readers.ts";

/** Small runs of some of what `bun run load` does at length, all against one host. */
const all = [
  ...[hugeBodies, slowLoris, openRequests, socketsAsleep, slowSockets, slowStreams, fastStreams],
  ...[fastPublisher, messageFlood, idsInMemory],
];

const results: ScenarioResult[] = [];
let host: LoadHost;
beforeAll(async () => {
  host = await LoadHost.start();
}, 60_000);
afterAll(async () => {
  tellTrust("load, small", figuresOf(results));
  await host?.stop();
});

test.each(all.map((scenario) => [scenario.name, scenario] as const))(
  "%s: bounded, refused in words, gone afterwards, and no bystander hurt",
  async (_, scenario) => {
    const result = await runScenario(scenario, "small", host);
    results.push(result);
    // With all that was seen, where something did not hold.
    expect(result.failures, linesOf(result).join("\n")).toEqual([]);
  },
  60_000,
);
