import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { RawClient, rawRequest } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";

/** Ids of objects whose code has run for an upgrade or a post. */
const reached: string[] = [];
const starts: string[] = [];

const club = object("club", {
  origins: ["https://app.example", "https://*.club.example", "self"],
  placement: { regions: ["iad"] },
  topics: { news: { subscribe: "anyone", publish: "clients", presence: {} } },
})
  .onTransform(({ objectId }) => void reached.push(objectId))
  .get("/region", ({ host }) => host.region)
  .ws("/live", { message: (ws, text) => void ws.send(text) });

const watched = object("watched", {
  origins: ["https://app.example"],
  onStart: ({ objectId }) => void starts.push(objectId),
}).ws("/live", { message: () => undefined });

const open = object("open", { topics: { news: { subscribe: "anyone" } } });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [club, watched, open],
    regions: ["iad", "ams", "nrt"],
    // An edge that does not run the class knows nothing of its origins: the owner looks.
    classesOf: (region) => (region === "nrt" ? [open] : [club, watched, open]),
  });
});
afterAll(() => cluster.stop());

async function upgrade(region: string, path: string, origin?: string) {
  const client = await RawClient.connect(cluster.host(region).port);
  client.upgrade(path, origin === undefined ? [] : [`Origin: ${origin}`]);
  const answer = await client.answer();
  client.close();
  return answer;
}

const evil = "https://evil.example";

describe.each(["iad", "ams", "nrt"])("at %s", (region) => {
  test("O9 a page of another origin opens no socket, and the class's own code does not hear of it", async () => {
    const id = `socket-${region}`;
    const answer = await upgrade(region, `/club/${id}/live`, evil);
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([403, "forbidden"]);
    expect(reached).not.toContain(id);
    for (const origin of ["https://app.example", "https://a.club.example", "http://edge.example", undefined])
      expect((await upgrade(region, `/club/${id}/live`, origin)).status).toBe(101);
    expect(reached).toContain(id);
  });

  test("O9 nor an event stream, nor does it publish", async () => {
    const id = `stream-${region}`;
    const path = `/club/${id}/-/topics/news`;
    const { port } = cluster.host(region);
    const stream = ["Accept: text/event-stream", `Origin: ${evil}`];
    expect((await rawRequest(port, `GET ${path}`, stream)).status).toBe(403);
    const post = (origin: string) =>
      rawRequest(
        port,
        `POST ${path}`,
        ["Content-Length: 2", "Content-Type: text/plain", `Origin: ${origin}`],
        "hi",
      );
    expect((await post(evil)).status).toBe(403);
    expect((await post("https://app.example")).status).toBe(202);
  });

  test("O9 E27 on a connection for many, each class looks at the page that opened it", async () => {
    const client = await ConnectClient.open(cluster.socketUrl(region, ""), { headers: { origin: evil } });
    // What a browser says of its page no script can say otherwise.
    const refused = client.ask(`club/connect-${region}`, "news");
    expect(await client.told("refused", refused)).toMatchObject({
      status: 403,
      error: { code: "forbidden" },
    });
    await client.subscribe(`open/${region}`, "news");
    expect(reached).not.toContain(`connect-${region}`);
    client.close();
    const own = await ConnectClient.open(cluster.socketUrl(region, ""), {
      headers: { origin: "https://app.example" },
    });
    await own.subscribe(`club/connect-${region}`, "news");
    own.close();
  });

  test("O9 E8 a client that calls its origin the connection's own gains nothing by it", async () => {
    const client = await RawClient.connect(cluster.host(region).port);
    client.head(`GET /club/hop-${region}/live`, [
      ...["Upgrade: websocket", "Connection: Upgrade, Origin", "Sec-WebSocket-Version: 13"],
      ...["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", `Origin: ${evil}`],
    ]);
    expect((await client.answer()).status).toBe(403);
    client.close();
  });
});

test("O9 whoever is refused at a host of the class starts no object", async () => {
  expect((await upgrade("ams", "/watched/unborn/live", evil)).status).toBe(403);
  expect((await upgrade("ams", "/watched/born/live", "https://app.example")).status).toBe(101);
  await until("the other has started", () => starts.includes("born"));
  expect(starts).not.toContain("unborn");
});

test("a request that opens nothing is judged by the class alone", async () => {
  const answer = await rawRequest(cluster.host("ams").port, "GET /club/plain/region", [`Origin: ${evil}`]);
  expect([answer.status, answer.body]).toEqual([200, "iad"]);
});
