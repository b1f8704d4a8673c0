import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { object, topic } from "stateful-objects";
import { movePurpose } from "../../infra/edge/move-channel.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { adminToken } from "../support/admin-token.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { until } from "../support/wait.ts";

/**
 * Hosts of several releases, as far as links tell them apart, on one directory. `iad` and `ams` are neighbours of version 2, `fra`
 * is of the release before, and `nrt` of one that came two releases later.
 */
const ranges = new Map([
  ["iad", { oldest: 1, newest: 2 }],
  ["ams", { oldest: 2, newest: 3 }],
  ["fra", { oldest: 1, newest: 1 }],
  ["nrt", { oldest: 3, newest: 4 }],
]);
const talk = object("talk", {
  state: () => ({ n: 0 }),
  topics: { said: topic({ history: { count: 10 }, subscribe: "anyone" }) },
})
  .get("/", ({ host }) => ({ owner: host.region }))
  .post("/", ({ state, host, topics }) => {
    topics.publish("said", ++state.n);
    return { n: state.n, owner: host.region };
  });
const distant = object("distant", { state: () => ({}), placement: { regions: ["nrt"] } }).get(
  "/",
  ({ host }) => host.region,
);
let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({
    classes: [talk, distant],
    regions: [...ranges.keys()],
    config: { adminToken },
    linkVersionsOf: (region) => ranges.get(region),
  });
});
afterAll(() => cluster?.stop());

async function answer(region: string, path: string, init?: RequestInit) {
  const response = await fetch(cluster.url(region, path), init);
  const text = await response.text();
  return {
    status: response.status,
    text,
    headers: response.headers,
    body: text.startsWith("{") ? JSON.parse(text) : text,
  };
}

test("K11 hosts one version apart speak the version that both know", async () => {
  expect((await answer("ams", "/talk/near")).body).toEqual({ owner: "ams" });
  expect((await answer("iad", "/talk/near", { method: "POST" })).body).toEqual({ n: 1, owner: "ams" });
  const [link] = [...cluster.host("iad").parts.links.pool.links()].filter(
    ({ peer }) => peer.region === "ams",
  );
  expect(link?.version).toBe(2);
});

test("K11 an owner that this edge cannot talk to is a clear refusal, which may be tried elsewhere", async () => {
  expect((await answer("nrt", "/talk/far")).body).toEqual({ owner: "nrt" });
  const refused = await until("the edge has heard of the owner", async () => {
    const got = await answer("iad", "/talk/far", { method: "POST" });
    return got.status === 503 && got;
  });
  expect(refused.body).toMatchObject({ code: "version_mismatch", retryable: true });
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(refused.body.detail).toMatch(/talk\/far is at nrt-\d \(nrt\).*versions 3 to 4.*versions 1 to 2/);
  // No address and no session of a host.
  const { privateUrl, session } =
    cluster.host("iad").parts.leases.hosts.find(({ region }) => region === "nrt") ?? {};
  for (const secret of [privateUrl ?? "http", session ?? "session"])
    expect(refused.text).not.toContain(secret);
  // Said once, however many ask.
  await answer("iad", "/talk/far", { method: "POST" });
  const hostId = cluster.host("iad").hostId;
  const told = cluster.entries.filter(
    (entry) => entry.event === "link.version_mismatch" && entry.hostId === hostId,
  );
  expect(new Set(told.map(({ fields }) => fields.host)).size).toBe(told.length);
});

test("K11 explain says which hosts stand apart, and why the owner is not asked", async () => {
  await until(
    "the edge knows the owner",
    async () => (await answer("iad", "/-/explain/talk/far")).body.owner !== null,
  );
  const { body } = await answer("iad", "/-/explain/talk/far");
  expect(body.owner).toMatchObject({ region: "nrt" });
  expect(body.notReached).toContain("versions 3 to 4");
  const apart = body.refused.find(({ region }: { region: string }) => region === "nrt");
  expect(apart).toMatchObject({ reason: "other_protocol" });
  expect(apart.why).toContain(
    "versions 3 to 4 of the links between hosts, and the host that asked versions 1 to 2",
  );
});

test("P2 placement chooses no host that the edge cannot talk to", async () => {
  const refused = await answer("iad", "/distant/x");
  expect(refused.body).toMatchObject({ status: 503, code: "no_eligible_host" });
  expect(refused.body.detail).toContain("(nrt): other_protocol");
  expect((await answer("nrt", "/distant/x")).body).toBe("nrt");
});

test("P10 L7 no move is offered to a host that may not understand it, and the object lives on", async () => {
  await answer("iad", "/talk/stays", { method: "POST" });
  const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
  for (const region of ["fra", "nrt"]) {
    const body = JSON.stringify({ region });
    const refused = await answer("iad", "/-/objects/talk/stays/move", { method: "POST", headers, body });
    expect(refused.body).toMatchObject({ status: 503, code: "no_eligible_host" });
    expect(refused.body.refused).toContainEqual(
      expect.objectContaining({ region, reason: "other_protocol" }),
    );
  }
  expect((await answer("ams", "/talk/stays", { method: "POST" })).body).toEqual({ n: 2, owner: "iad" });
  // Towards the later release it goes.
  const body = JSON.stringify({ region: "ams" });
  expect((await answer("iad", "/-/objects/talk/stays/move", { method: "POST", headers, body })).status).toBe(
    200,
  );
  expect((await answer("iad", "/talk/stays", { method: "POST" })).body).toEqual({ n: 3, owner: "ams" });
});

test("L7 a target that turns out not to know moves refuses the offer, and the object lives on where it is", async () => {
  await answer("iad", "/talk/offered", { method: "POST" });
  const { links } = cluster.host("ams").parts;
  const serve = links.channel.bind(links);
  const channel = spyOn(links, "channel").mockImplementation((open, purpose, head) => {
    // As a host answers that has never heard of them.
    if (purpose === movePurpose)
      throw new StatefulError("bad_request", `This version does not know channels for "${purpose}".`);
    return serve(open, purpose, head);
  });
  const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
  const body = JSON.stringify({ region: "ams" });
  const refused = await answer("iad", "/-/objects/talk/offered/move", { method: "POST", headers, body });
  expect(refused.status).toBeGreaterThanOrEqual(400);
  expect((await answer("ams", "/talk/offered", { method: "POST" })).body).toEqual({ n: 2, owner: "iad" });
  channel.mockRestore();
  expect(
    (await answer("iad", "/-/objects/talk/offered/move", { method: "POST", headers, body })).status,
  ).toBe(200);
  expect((await answer("iad", "/talk/offered", { method: "POST" })).body).toEqual({ n: 3, owner: "ams" });
});

test("K19 a topic on a connection for many is refused where its owner's release knows none, and is to be tried again", async () => {
  expect((await answer("fra", "/talk/old")).body).toEqual({ owner: "fra" });
  await until("the edge asks the owner", async () => (await answer("iad", "/talk/old")).body.owner === "fra");
  const client = await ConnectClient.open(cluster.socketUrl("iad", ""));
  client.say({ type: "subscribe", id: 1, object: "talk/old", topic: "said" });
  const refused = await until("the subscription is answered", () =>
    client.frames.find(({ type }) => type === "refused"),
  );
  expect(refused).toMatchObject({ id: 1, status: 503, error: { code: "version_mismatch", retryable: true } });
  // Requests are served as ever.
  expect((await answer("iad", "/talk/old", { method: "POST" })).body).toEqual({ n: 1, owner: "fra" });
  client.close();
});
