import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { until } from "../support/wait.ts";

const [before, after] = ["the-secret-of-before-0001", "the-secret-from-now-on-02"];
/** In the order of a rolling change: a deploy leaves hosts of two neighbouring steps beside each other. */
const steps: readonly (readonly [region: string, secrets: readonly string[]])[] = [
  ["iad", [before]],
  ["ams", [before, after]],
  ["nrt", [after, before]],
  ["fra", [after]],
];

const classes = steps.map(([region]) =>
  object(`in-${region}`, { placement: { regions: [region] } }).get("/", ({ host }) => host.region),
);

let cluster: Cluster;
beforeAll(async () => {
  const [[first, clusterSecrets] = ["", []], ...others] = steps;
  cluster = await startCluster({ classes, regions: [first], config: { clusterSecrets } });
  for (const [region, secrets] of others) await cluster.add(region, { clusterSecrets: secrets });
  await until("all hosts know each other", () =>
    cluster.hosts.every(({ parts }) => parts.leases.hosts.length === steps.length),
  );
});
afterAll(() => cluster.stop());

const directly = (from: string, to: string) =>
  cluster.host(from).parts.links.pathTo(
    cluster.host(from).parts.leases.hosts.find(({ region }) => region === to) as never, // it is among them: see above
  ).via === undefined;

const pairs = steps.slice(1).flatMap(([later], index) => {
  const earlier = steps[index]?.[0] ?? "";
  return [
    [earlier, later],
    [later, earlier],
  ] as const;
});

test.each(pairs)(
  "K10 while the secret is changed, a host in %s reaches one in %s that is a step away",
  async (from, to) => {
    const answer = await fetch(cluster.url(from, `/in-${to}/a`));
    expect([answer.status, await answer.text()]).toEqual([200, to]);
    expect(directly(from, to)).toBe(true);
  },
);

test("K10 neither secret is in a log, and those two steps apart are not linked directly", async () => {
  for (const [from, to] of [
    ["iad", "fra"],
    ["fra", "iad"],
  ] as const) {
    const answer = await fetch(cluster.url(from, `/in-${to}/b`));
    // By a host between them, or not at all.
    if (answer.status === 200) expect(directly(from, to)).toBe(false);
    else expect(answer.status).toBe(503);
  }
  const logged = Bun.inspect(cluster.entries, { depth: 20 });
  expect(logged).toContain("link.opened");
  for (const secret of [before, after]) expect(logged).not.toContain(secret);
});
