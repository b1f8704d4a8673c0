import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { t } from "elysia";
import { object } from "stateful-objects";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type RawAnswer, RawClient, rawRequest } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

/** Promises that handlers wait for, by name. */
const held = new Map<string, PromiseWithResolvers<void>>();
function hold(name: string): PromiseWithResolvers<void> {
  const known = held.get(name) ?? Promise.withResolvers<void>();
  held.set(name, known);
  return known;
}
const secretText = "the text of an error that no client may read";
const starts = new Map<string, number>();

async function slowRefusal({ objectId }: { objectId: string }) {
  await hold(objectId).promise;
  return new Response("after all, no", { status: 418 });
}

const inIad = { placement: { regions: ["iad"] } };
const probe = object("probe", {
  ...inIad,
  state: () => ({ count: 0 }),
  limits: { queueLengthMax: 2, socketsMax: 2, bodyBytesMax: 100_000 },
  topics: { open: { subscribe: "anyone" }, closed: {} },
})
  .get("/", ({ objectId, state }) => ({ id: objectId, count: ++state.count }))
  .get("/held", async ({ objectId }) => {
    await hold(objectId).promise;
    return "done";
  })
  .get("/broken", () => {
    throw new Error(secretText);
  })
  .get("/rejected", async () => Promise.reject(new TypeError(secretText)))
  .get("/thrown", () => {
    throw secretText;
  })
  .post("/parsed", ({ body }) => body.text.length, { body: t.Object({ text: t.String() }) })
  .post(
    "/raw",
    async ({ request }) => {
      let bytes = 0;
      for await (const chunk of request.body ?? []) bytes += chunk.length;
      return bytes;
    },
    { parse: "none" },
  )
  .post("/unread", () => "not looked at", { parse: "none" })
  .ws("/live", { message: (ws, message) => void ws.send(message) })
  .ws("/refused", {
    beforeHandle: ({ status, set }) => {
      set.headers["www-authenticate"] = "Bearer";
      return status(401, "Who are you?");
    },
  })
  .ws("/after", {
    afterHandle: ({ status }) => status(403, "after all, no"),
  })
  .ws("/slow", { beforeHandle: slowRefusal })
  .ws("/failing", {
    beforeHandle() {
      throw new Error(secretText);
    },
  });

const near = object("near", { placement: { regions: ["sin"] } }).ws("/slow", { beforeHandle: slowRefusal });

const failing = object("failing", {
  ...inIad,
  onStart: ({ objectId }) => {
    const count = (starts.get(objectId) ?? 0) + 1;
    starts.set(objectId, count);
    if (count === 1) throw new Error(secretText);
  },
}).get("/", ({ objectId }) => ({ starts: starts.get(objectId) }));

const only = object("only").get("/", () => "here");

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [probe, failing, near],
    regions: ["iad", "ams", "nrt"],
    classesOf: (region) => (region === "nrt" ? [probe, failing, near, only] : [probe, failing, near]),
  });
});
afterAll(async () => {
  for (const { resolve } of held.values()) resolve();
  await cluster.stop();
});

const badHosts = ["edge.example/x", "a b", "", "edge.example/probe/other?"];
const ways = [
  ["local", "iad"],
  ["remote", "ams"],
] as const;

function ask(
  region: string,
  requestLine: string,
  fields: readonly string[] = [],
  body = "",
): Promise<RawAnswer> {
  return rawRequest(cluster.host(region).port, requestLine, fields, body);
}

/** Everything that a problem document must be, and nothing that only we may know. Returns its members. */
function problemOf(answer: RawAnswer, status: number, code: string): Record<string, unknown> {
  const fields = new Map(answer.fields);
  expect([answer.status, fields.get("content-type")]).toEqual([status, "application/problem+json"]);
  const problem = JSON.parse(answer.body);
  expect(problem).toMatchObject({ status, code, type: `urn:stateful-objects:error:${code}` });
  expect(typeof problem.title).toBe("string");
  expect(typeof problem.retryable).toBe("boolean");
  for (const internal of [secretText, "node_modules", ".ts:", "    at ", "127.0.0.1", "session-"])
    expect(answer.body).not.toContain(internal);
  for (const { parts } of cluster.hosts) expect(answer.body).not.toContain(parts.leases.session.id);
  return problem;
}

function field(answer: RawAnswer, name: string): string | undefined {
  return answer.fields.find(([candidate]) => candidate === name)?.[1];
}

describe.each([...ways])("%s", (way, region) => {
  const cases: [string, string, number, string][] = [
    ["a class that nobody has", "GET /nobody/a", 404, "unknown_class"],
    ["a name that no class can have", "GET /Probe/a", 404, "unknown_class"],
    ["no id", "GET /probe", 404, "not_found"],
    ["an empty id", "GET /probe//", 400, "bad_object_id"],
    ["an id of 257 bytes", `GET /probe/${"a".repeat(257)}`, 400, "bad_object_id"],
    ["an id that is not UTF-8", "GET /probe/%ff", 400, "bad_object_id"],
    ["an id that ends inside of an escape", "GET /probe/%e", 400, "bad_object_id"],
    ["dots, which every URL parser takes out", "GET /probe/%2e%2e/a", 404, "not_found"],
    ["a route that is not there", "GET /probe/a/nothing", 404, "not_found"],
    ["a method that is not there", "POST /probe/a", 404, "not_found"],
    ["a method that nobody knows", "PURGE /probe/a", 404, "not_found"],
    ["input that does not match", "POST /probe/a/parsed", 422, "invalid_input"],
    ["a socket's route without an upgrade", "GET /probe/a/live", 426, "upgrade_required"],
    ["a topic that is not declared", "GET /probe/a/-/topics/nothing", 403, "topic_closed"],
    ["a topic that is not open", "GET /probe/a/-/topics/closed", 403, "topic_closed"],
    ["an open topic, asked for as a page", "GET /probe/a/-/topics/open", 426, "upgrade_required"],
    ["the system's unknown address", "GET /-/nothing", 404, "not_found"],
    ["the system's own address, below a name", "GET /-/health/x", 404, "not_found"],
    ["a method the system does not answer", "POST /-/health", 404, "not_found"],
    ["an explanation of what is not there", "GET /-/explain/nobody/a", 404, "unknown_class"],
    ["an explanation of a bad id", "GET /-/explain/probe/%ff", 400, "bad_object_id"],
    ["a link without the secret", "GET /-/link", 401, "unauthorized"],
    ["an address that only begins like the link's", "GET /-/links", 404, "not_found"],
  ];
  test.each(cases)("%s", async (_, requestLine, status, code) => {
    const answer = await ask(region, requestLine, ["Content-Length: 0"]);
    problemOf(answer, status, code);
    if (status === 426) expect(field(answer, "upgrade")).toBe("websocket");
  });

  test.each(badHosts)("the Host header %p is refused", async (host) => {
    problemOf(await ask(region, `GET /probe/bad-host-${way}`, [`Host: ${host}`]), 400, "bad_request");
  });

  test("a body that cannot be parsed is 400", async () => {
    const json = ["Content-Type: application/json", "Content-Length: 1"];
    problemOf(await ask(region, "POST /probe/a/parsed", json, "{"), 400, "bad_request");
  });

  describe("a body over the class's limit", () => {
    const chunked = "Transfer-Encoding: chunked";
    const chunks = `${"1f40\r\n".concat("x".repeat(8000), "\r\n").repeat(20)}0\r\n\r\n`;

    test.each(["parsed", "raw", "unread"])(
      "declared: 413 from /%s before the handler runs",
      async (route) => {
        const client = await RawClient.connect(cluster.host(region).port);
        client.head(`POST /probe/a/${route}`, ["Content-Length: 100001"]);
        problemOf(await client.answer(), 413, "body_too_large");
        client.close();
      },
    );

    test("declared, and sent all the same: 413", async () => {
      const body = "x".repeat(5_000_000);
      const response = await fetch(cluster.url(region, "/probe/a/raw"), { method: "POST", body });
      expect([response.status, (await response.json()).code]).toEqual([413, "body_too_large"]);
    });

    test("in chunks: 413 where the handler has it parsed, and where it reads it itself", async () => {
      const json = [chunked, "Content-Type: application/json"];
      problemOf(await ask(region, "POST /probe/a/parsed", json, chunks), 413, "body_too_large");
      problemOf(await ask(region, "POST /probe/a/raw", [chunked], chunks), 413, "body_too_large");
    });

    test("in chunks that the handler does not read: nothing waits for them", async () => {
      expect((await ask(region, "POST /probe/a/unread", [chunked], chunks)).body).toBe("not looked at");
    });

    test("to the byte: the limit itself is let through", async () => {
      const exact = await ask(region, "POST /probe/a/raw", ["Content-Length: 100000"], "x".repeat(100_000));
      expect([exact.status, exact.body]).toEqual([200, "100000"]);
    });
  });

  test("a full queue is 429 with Retry-After, and the object goes on when there is room", async () => {
    const id = `full-${way}`;
    const waiting = [ask("iad", `GET /probe/${id}/held`), ask("iad", `GET /probe/${id}/held`)];
    const activation = () => cluster.host("iad").parts.table.live(`probe/${id}`);
    await until("both events are open", () => activation()?.openEvents === 2);
    const answer = await ask(region, `GET /probe/${id}`);
    expect(problemOf(answer, 429, "queue_full").retryable).toBe(true);
    expect(field(answer, "retry-after")).toBe("1");
    hold(id).resolve();
    expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(["done", "done"]);
    expect((await ask(region, `GET /probe/${id}`)).status).toBe(200);
  });

  test("a socket too many is 429, and there is room again when one leaves", async () => {
    const path = `/probe/crowd-${way}/live`;
    const open = [
      await SocketClient.open(cluster.socketUrl(region, path)),
      await SocketClient.open(cluster.socketUrl(region, path)),
    ];
    problemOf(await upgrade(region, path), 429, "queue_full");
    for (const client of open) client.close();
    await until("there is room", async () => (await upgrade(region, path)).status === 101);
    await until(
      "all have gone",
      () => cluster.host("iad").parts.table.live(`probe/crowd-${way}`)?.socketCount === 0,
    );
  });

  test.each(["broken", "rejected", "thrown"])(
    "a handler that fails (%s) is 500 with an id that the log has",
    async (how) => {
      const before = JSON.parse((await ask(region, `GET /probe/goes-on-${way}-${how}`)).body);
      const { errorId } = problemOf(
        await ask(region, `GET /probe/goes-on-${way}-${how}/${how}`),
        500,
        "handler_failed",
      );
      expect(errorId).toBeString();
      const entry = cluster.entries.find(({ fields }) => fields.errorId === errorId);
      expect(entry).toMatchObject({ hostId: cluster.host("iad").hostId, event: "handler.failed" });
      expect(String(entry?.fields.error)).toContain(secretText);
      const after = JSON.parse((await ask(region, `GET /probe/goes-on-${way}-${how}`)).body);
      expect(after.count).toBe(before.count + 1);
    },
  );

  test("an onStart that fails is 500 start_failed with an id that the log has, and the next request tries again", async () => {
    const { errorId, retryable } = problemOf(await ask(region, `GET /failing/${way}`), 500, "start_failed");
    expect(retryable).toBe(true);
    expect(cluster.entries.some(({ fields }) => fields.errorId === errorId)).toBe(true);
    expect(JSON.parse((await ask(region, `GET /failing/${way}`)).body)).toEqual({ starts: 2 });
  });

  test("HEAD is answered as GET without the body, errors included", async () => {
    const client = await RawClient.connect(cluster.host(region).port);
    for (const [path, status] of [
      [`/probe/head-${way}`, 200],
      [`/probe/head-${way}/nothing`, 404],
      ["/nobody/a", 404],
      ["/-/health", 200],
    ] as const) {
      const from = client.received.length;
      client.head(`HEAD ${path}`);
      const head = await until(`HEAD ${path} is answered`, () => {
        const text = client.received.slice(from);
        return text.endsWith("\r\n\r\n") ? text : undefined;
      });
      expect(head).toStartWith(`HTTP/1.1 ${status} `);
    }
    client.close();
  });

  describe("a WebSocket that is not accepted hears why", () => {
    const refusals: [string, string, number, string][] = [
      ["a route that is not there", "/probe/a/nothing", 404, "not_found"],
      ["a class that is not there", "/nobody/a/live", 404, "unknown_class"],
      ["a bad id", "/probe/%ff/live", 400, "bad_object_id"],
      ["a topic that is not open", "/probe/a/-/topics/closed", 403, "topic_closed"],
      ["a hook that fails", "/probe/a/failing", 500, "handler_failed"],
    ];
    test.each(refusals)("%s", async (_, path, status, code) => {
      problemOf(await upgrade(region, path), status, code);
    });

    test("a route that is no socket's is not upgraded", async () => {
      // HTTP lets a server ignore the wish (RFC 9110, section 7.8), which is what a route that Bun matches does.
      const answer = await upgrade(region, "/probe/a");
      if (answer.status === 200) expect(JSON.parse(answer.body).id).toBe("a");
      else problemOf(answer, 404, "not_found");
    });

    test("a hook's 401 stays a 401, with its fields and its body", async () => {
      const answer = await upgrade(region, "/probe/a/refused");
      expect([answer.status, answer.body, field(answer, "www-authenticate")]).toEqual([
        401,
        "Who are you?",
        "Bearer",
      ]);
    });

    test("a hook behind the route has the last word", async () => {
      const answer = await upgrade(region, "/probe/a/after");
      expect([answer.status, answer.body]).toEqual([403, "after all, no"]);
    });

    test("a handshake that is none", async () => {
      const answer = await ask(region, "GET /probe/a/live", ["Upgrade: websocket", "Connection: Upgrade"]);
      problemOf(answer, 426, "upgrade_required");
      await until(
        "nothing is left of it",
        () => cluster.host("iad").parts.table.live("probe/a")?.socketCount === 0,
      );
    });
  });
});

async function upgrade(region: string, path: string): Promise<RawAnswer> {
  const client = await RawClient.connect(cluster.host(region).port);
  client.upgrade(path);
  try {
    return await client.answer();
  } finally {
    client.close();
  }
}

test("an id is one object however it is spelled, from every region, and look-alikes are others", async () => {
  const slash = ["a%2Fb", "a%2fb", "%61%2Fb"];
  const counts: number[] = [];
  for (const region of ["iad", "ams", "nrt"]) {
    for (const spelling of slash) {
      const { id, count } = JSON.parse((await ask(region, `GET /probe/${spelling}`)).body);
      expect(id).toBe("a/b");
      counts.push(count);
    }
  }
  expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const strangers = [
    "%C3%A9",
    "e%CC%81",
    "%D0%B5",
    "e",
    "E",
    "__proto__",
    "constructor",
    "a%00b",
    "a%0Ab",
    "a%20b",
    "a+b",
    "~",
    "%F0%9F%A6%84",
  ];
  for (const id of strangers) {
    expect(JSON.parse((await ask("ams", `GET /probe/${id}`)).body)).toEqual({
      id: decodeURIComponent(id),
      count: 1,
    });
  }
  for (const id of strangers) expect(JSON.parse((await ask("iad", `GET /probe/${id}`)).body).count).toBe(2);
});

test("E1 no Host header moves a request to another object", async () => {
  await ask("iad", "GET /probe/victim");
  for (const host of badHosts) {
    // A live object's routes are matched by the server, which does not look at the field at all.
    const answer = await ask("iad", "GET /probe/victim", [`Host: ${host}`]);
    if (answer.status === 200) expect(JSON.parse(answer.body).id).toBe("victim");
    else problemOf(answer, 400, "bad_request");
  }
  expect(cluster.host("iad").parts.table.live("probe/other")).toBeUndefined();
});

test("a link is refused to whoever has another secret, upgrade or not", async () => {
  for (const secret of ["Bearer wrong", "Basic d3Jvbmc6d3Jvbmc=", ""]) {
    const client = await RawClient.connect(cluster.host("iad").port);
    const version = `Stateful-Link-Version: ${linkVersions.oldest}`;
    client.upgrade("/-/link", [version, ...(secret === "" ? [] : [`Authorization: ${secret}`])]);
    problemOf(await client.answer(), 401, "unauthorized");
    client.close();
  }
});

test("health says who is there", async () => {
  const answer = await ask("iad", "GET /-/health");
  expect([answer.status, field(answer, "cache-control")]).toEqual([200, "no-store"]);
  expect(JSON.parse(answer.body)).toMatchObject({ status: "ok", region: "iad", hosts: cluster.hosts.length });
});

test("a host that holds all the sockets it may refuses the next with 503 host_full", async () => {
  const small = await cluster.add("fra", { socketsMax: 1 });
  const client = await SocketClient.open(cluster.socketUrl("fra", "/probe/few/live"));
  const answer = await upgrade("fra", "/probe/few/live");
  problemOf(answer, 503, "host_full");
  expect(field(answer, "retry-after")).toBe("1");
  client.close();
  await until("its place is free", () => small.parts.sockets.size === 0);
  expect((await upgrade("fra", "/probe/few/live")).status).toBe(101);
});

test("upgrades that wait for their hooks hold their places, and give them back where they are refused", async () => {
  const small = await cluster.add("sin", { socketsMax: 1 });
  for (const [id, region] of [
    ["slow-there", "iad"],
    ["slow-here", "sin"],
  ] as const) {
    const path = `/${region === "iad" ? "probe" : "near"}/${id}/slow`;
    const first = await RawClient.connect(small.port);
    first.upgrade(path);
    await until("the hook runs", () => held.has(id));
    problemOf(await upgrade("sin", path), 503, "host_full");
    hold(id).resolve();
    expect((await first.answer()).status).toBe(418);
    first.close();
    await until("its place is free", () => small.parts.sockets.size === 0);
  }
  await small.stop();
});

test("a class whose only host has gone is 503 no_eligible_host with the reasons", async () => {
  expect((await ask("iad", "GET /only/a")).body).toBe("here");
  await cluster.host("nrt").stop();
  for (const region of ["iad", "ams"]) {
    const answer = await until(`${region} has heard`, async () => {
      const asked = await ask(region, "GET /only/a");
      return JSON.parse(asked.body).code === "no_eligible_host" ? asked : undefined;
    });
    const { refused, retryable } = problemOf(answer, 503, "no_eligible_host");
    expect(retryable).toBe(true);
    expect(field(answer, "retry-after")).toBe("1");
    expect(refused).toContainEqual({ hostId: cluster.host(region).hostId, region, reason: "class_missing" });
  }
});
