import { afterAll, beforeAll, expect, test } from "bun:test";
import { t } from "elysia";
import { object } from "stateful-objects";
import { directRoutes } from "../../infra/object/direct-routes.ts";
import { classDefinition, compileClass } from "../../infra/object/object.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";

const echo = object("echo", { state: () => ({ calls: 0 }), limits: { bodyBytesMax: 100 } })
  .decorate("motto", "once")
  .headers({ "x-class": "echo" })
  .derive(({ headers }) => ({ agent: headers["user-agent"] === "test" }))
  .get("/", ({ objectId, params, path, query, motto, agent }) => ({
    objectId,
    params,
    path,
    query,
    motto,
    agent,
  }))
  .get("/named/:name", ({ params, query }) => ({ params, page: query.page }), {
    query: t.Object({ page: t.Optional(t.Number()) }),
  })
  .get("/fails", () => {
    throw new Error("inside");
  })
  .get("/cookie", ({ cookie: { seen } }) => {
    if (seen) seen.value = "yes";
    return "set";
  })
  .post("/body", ({ body }) => body, { body: t.Object({ by: t.Number() }) })
  .post("/text", ({ body }) => ({ body }), { parse: "text" })
  .put("/put", ({ request }) => new URL(request.url).search)
  .get("/live", () => "plain")
  .ws("/live", { message: () => undefined })
  .all("/any", () => "any")
  .get("/rest/*", ({ params }) => params);

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [echo], regions: ["iad"] });
  await fetch(cluster.url("iad", "/echo/a")); // from here on the object is live, and direct routes are taken
});
afterAll(() => cluster.stop());

const json = { "content-type": "application/json" };
const requests: readonly (readonly [path: string, init?: RequestInit])[] = [
  ["/echo/a"],
  ["/echo/a?x=1&x=2&y=%20"],
  ["/echo/a", { headers: { "user-agent": "test" } }],
  ["/echo/a", { method: "HEAD" }],
  ["/echo/a", { method: "DELETE" }],
  ["/echo/a", { method: "OPTIONS" }],
  ["/echo/a/"],
  ["/echo/a/named/b%20c?page=3"],
  ["/echo/a/named/b?page=three"],
  ["/echo/a/named/%2F"],
  ["/echo/a/fails"],
  ["/echo/a/cookie"],
  ["/echo/a/live"],
  ["/echo/a/any", { method: "PATCH" }],
  ["/echo/a/rest/x/y"],
  ["/echo/a/missing"],
  ["/echo/a/body", { method: "POST", headers: json, body: '{"by":1}' }],
  ["/echo/a/body", { method: "POST", headers: json, body: '{"by":"1x"}' }],
  ["/echo/a/body", { method: "POST", headers: json, body: "{" }],
  ["/echo/a/body", { method: "POST" }],
  ["/echo/a/text", { method: "POST", body: "hello" }],
  ["/echo/a/text", { method: "POST", body: "x".repeat(101) }],
  ["/echo/a/put?q=1", { method: "PUT", body: "x" }],
];

const named = requests.map(([path, init = {}]) => ({ name: `${init.method ?? "GET"} ${path}`, path, init }));

test.each(named)(
  "O1 $name is answered the same by the direct route and by the long way",
  async ({ path, init }) => {
    const url = cluster.url("iad", path);
    const direct = await fetch(url, init);
    const frontend = { upgrade: () => false, clientAddress: () => "" };
    const headers = new Headers(init?.headers);
    if (!headers.has("user-agent")) headers.set("user-agent", "Bun");
    // What a client on the network sends by itself.
    if (typeof init.body === "string") headers.set("content-length", String(init.body.length));
    const long = await cluster
      .host("iad")
      .parts.dispatcher.handle(new Request(url, { ...init, headers }), frontend);
    if (long === undefined) throw new Error("The long way upgraded.");
    expect([direct.status, await comparable(direct)]).toEqual([long.status, await comparable(long)]);
    for (const name of ["content-type", "x-class", "set-cookie"]) {
      expect([name, direct.headers.get(name)]).toEqual([name, long.headers.get(name)]);
    }
  },
);

/** The body, less the id of the log entry, which is another each time; JSON as the value it is. */
async function comparable(response: Response): Promise<unknown> {
  const text = await response.text();
  const same = text
    .replaceAll(/"errorId":"[^"]+"/g, '"errorId":"…"')
    .replaceAll(/under [\w-]{12}\./g, "under ….");
  return same.startsWith("{") ? JSON.parse(same) : same;
}

test("O1 a route is direct only where nothing else could be meant by the same request", () => {
  const definition = classDefinition(echo);
  if (definition === undefined) throw new Error("echo is not a class.");
  compileClass(echo, definition);
  const direct = directRoutes(echo).map(({ method, path }) => `${method} ${path}`);
  expect(direct).toContain("GET /echo/:id");
  expect(direct).toContain("POST /echo/:id/body");
  expect(direct).toContain("GET /echo/:id/named/:name");
  // The socket's twin, any method's, and a wildcard.
  for (const path of ["/live", "/any", "/rest"])
    expect(direct.filter((route) => route.includes(path))).toEqual([]);
});

test("O1 a class whose hooks run around the router has no direct routes", () => {
  const wrapped = object("wrapped")
    .onRequest(() => undefined)
    .get("/", () => "");
  const definition = classDefinition(wrapped);
  if (definition === undefined) throw new Error("wrapped is not a class.");
  compileClass(wrapped, definition);
  expect(directRoutes(wrapped)).toEqual([]);
});
