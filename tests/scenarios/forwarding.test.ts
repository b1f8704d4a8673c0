import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { sse } from "elysia";
import { object } from "stateful-objects";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { LinkConnection } from "../../infra/link/link-connection.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type RawAnswer, RawClient, rawRequest } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";

/** What handlers and the test tell each other: they share a process. One per object, under its id. */
class Meeting {
  readonly entered = Promise.withResolvers<string>();
  readonly go = Promise.withResolvers<void>();
  readonly left = Promise.withResolvers<string>();
  runs = 0;
}
const meetings = new Map<string, Meeting>();
function meeting(id: string): Meeting {
  const known = meetings.get(id) ?? new Meeting();
  meetings.set(id, known);
  return known;
}

/** Pinned: hosts of one process are equally near to each other, so placement would choose by lot. */
const probe = object("probe", { placement: { regions: ["iad"] } })
  .all(
    "/echo",
    async ({ request, query, set }) => {
      set.headers["x-answered"] = "yes";
      set.headers["set-cookie"] = ["a=1; Path=/", "b=2; HttpOnly"];
      set.status = 201;
      const body = await request.text();
      const { method, url } = request;
      const { "transfer-encoding": _, ...headers } = Object.fromEntries(request.headers); // of one connection, so not forwarded
      return { method, url, query, headers, body };
    },
    { parse: "none" },
  )
  .get("/hop-by-hop", () => {
    const headers = { "keep-alive": "timeout=9", "x-kept": "yes" };
    return new Response("body", { headers });
  })
  .get("/status/:status", ({ params }) => new Response(null, { status: Number(params.status) }))
  .get("/bytes", () => new Response(new Uint8Array(300_000).fill(7)))
  .get("/text", () => "x".repeat(300_000))
  .get("/events", async function* ({ objectId }) {
    const { go, left } = meeting(objectId);
    try {
      yield sse({ event: "first", data: "1" });
      await go.promise;
      yield sse({ event: "second", data: "2" });
    } finally {
      left.resolve("the generator ended");
    }
  })
  .get("/stalled", ({ objectId }) => {
    const { entered, left } = meeting(objectId);
    return new Response(
      new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new Uint8Array(10)),
        pull: () => {
          entered.resolve("reading");
          return new Promise(() => undefined);
        },
        cancel: () => left.resolve("the stream was cancelled"),
      }),
    );
  })
  .get("/broken", ({ objectId }) => {
    let chunks = 0;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (chunks++ === 0) return controller.enqueue(new Uint8Array(10));
      await meeting(objectId).go.promise;
      controller.error(new StatefulError("internal", "The source failed, as the test wants it."));
    };
    return new Response(new ReadableStream({ pull }));
  })
  .post(
    "/upload",
    async ({ objectId, request }) => {
      const { entered, left } = meeting(objectId);
      let bytes = 0;
      try {
        for await (const chunk of request.body ?? []) {
          bytes += chunk.length;
          entered.resolve("reading");
        }
        left.resolve(`whole, with ${bytes} bytes`);
      } catch {
        left.resolve("broken off");
      }
    },
    { parse: "none" },
  )
  .all("/wait", async ({ objectId, request }) => {
    const { entered, left, go } = meeting(objectId);
    meeting(objectId).runs++;
    request.signal.addEventListener("abort", () => left.resolve("the signal was aborted"));
    entered.resolve("waiting");
    await go.promise;
    return "waited";
  });

const walled = object("walled").get("/", ({ host }) => host.id);

const slow = object("slow", {
  placement: { regions: ["iad"] },
  onStart: async ({ objectId }) => {
    meeting(objectId).entered.resolve("starting");
    await meeting(objectId).go.promise;
  },
}).all("/", ({ objectId }) => ({ runs: ++meeting(objectId).runs }));

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [probe, slow, walled], regions: ["iad", "ams"] });
});
afterAll(async () => {
  for (const { go } of meetings.values()) go.resolve(); // A host that stops waits for open events.
  await cluster.stop();
});

/** An object that lives in iad. Ask there for the local way, in ams for the remote one. */
async function ownedByIad(id: string): Promise<string> {
  await (await fetch(cluster.url("iad", `/probe/${id}/status/204`))).text();
  expect(cluster.host("iad").parts.table.live(`probe/${id}`)).toBeDefined();
  return `/probe/${id}`;
}

const ways = [
  ["local", "iad"],
  ["remote", "ams"],
] as const;

/** A body over 128 KiB comes through a forward in chunks. */
const framing = new Set(["date", "content-length", "transfer-encoding"]);

function comparable({ status, fields, body }: RawAnswer): RawAnswer {
  return { status, fields: fields.filter(([name]) => !framing.has(name)).sort(), body };
}

describe("what a handler hears, and what the client does, is the same from here and from elsewhere", () => {
  const host = "Host: edge.example:81";
  const cases: [string, string, string[], string][] = [
    ["GET with query", "GET /probe/same/echo?a=1&a=2&b=%20%2F", [host], ""],
    ["GET with a path that wants normalizing", 'GET /probe/same/echo?q="|\\^%zz', [host], ""],
    ["POST with a small body", "POST /probe/same/echo", [host, "Content-Length: 5"], "hello"],
    [
      "POST with bytes that are no text",
      "POST /probe/same/echo",
      [host, "Content-Length: 3"],
      "\xff\x00\x80",
    ],
    ["POST with no body", "POST /probe/same/echo", [host, "Content-Length: 0"], ""],
    [
      "POST of JSON",
      "POST /probe/same/echo",
      [host, "Content-Type: application/json", "Content-Length: 2"],
      "{}",
    ],
    [
      "PUT in chunks",
      "PUT /probe/same/echo",
      [host, "Transfer-Encoding: chunked"],
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    ],
    ["PUT over 64 KiB", "PUT /probe/same/echo", [host, "Content-Length: 100000"], "z".repeat(100_000)],
    ["PATCH", "PATCH /probe/same/echo", [host, "Content-Length: 1"], "p"],
    ["PROPFIND", "PROPFIND /probe/same/echo", [host, "Content-Length: 1"], "p"],
    ["a method of one's own", "PURGE /probe/same/echo", [host], ""],
    ["TRACE", "TRACE /probe/same/echo", [host], ""],
    ["DELETE", "DELETE /probe/same/echo?x", [host], ""],
    ["OPTIONS", "OPTIONS /probe/same/echo", [host], ""],
    ["HEAD", "HEAD /probe/same/status/204", [host], ""],
    [
      "cookies and bytes above ASCII",
      "GET /probe/same/echo",
      [host, "Cookie: a=1; b=2", "X-Latin: caf\xe9"],
      "",
    ],
    ["a field sent twice", "GET /probe/same/echo", [host, "X-Twice: 1", "X-Twice: 2"], ""],
    ["status 204", "GET /probe/same/status/204", [host], ""],
    ["status 304", "GET /probe/same/status/304", [host], ""],
    ["status 418", "GET /probe/same/status/418", [host], ""],
    ["status 599", "GET /probe/same/status/599", [host], ""],
    ["a large body of text", "GET /probe/same/text", [host], ""],
    ["a route that is not there", "GET /probe/same/nothing", [host], ""],
  ];
  test.each(cases)("%s", async (_, requestLine, fields, body) => {
    await ownedByIad("same");
    const [here, there] = await Promise.all(
      ways.map(([, region]) => rawRequest(cluster.host(region).port, requestLine, fields, body)),
    );
    if (here === undefined || there === undefined) throw new Error("There are two ways.");
    expect(comparable(there)).toEqual(comparable(here));
    expect(here.status).not.toBe(500);
  });
});

test("status, cookies, query and URL come through a forward as they are", async () => {
  await ownedByIad("kept");
  const response = await fetch(cluster.url("ams", "/probe/kept/echo?a=1"), { method: "POST", body: "hello" });
  expect(response.status).toBe(201);
  expect(response.headers.getSetCookie()).toEqual(["a=1; Path=/", "b=2; HttpOnly"]);
  expect(response.headers.get("x-answered")).toBe("yes");
  expect(await response.json()).toMatchObject({
    method: "POST",
    url: cluster.url("ams", "/probe/kept/echo?a=1"),
    query: { a: "1" },
    body: "hello",
  });
});

test("E8 fields of the connection reach neither the handler nor the client, and all others do", async () => {
  await ownedByIad("hops");
  const asked = ["Connection: keep-alive, X-Named", "X-Named: 1", "Keep-Alive: timeout=5", "TE: trailers"];
  const others = ["X-Stateful-Epoch: 99", "X-Kept: yes"];
  const echo = async (region: "iad" | "ams") =>
    JSON.parse(
      (await rawRequest(cluster.host(region).port, "GET /probe/hops/echo", [...asked, ...others])).body,
    );
  const { headers: there } = await echo("ams");
  expect(there).toEqual({ host: "edge.example", "x-kept": "yes", "x-named": "1", "x-stateful-epoch": "99" });
  // The owner's own edge shows what is of the connection as well, and nothing else more.
  expect((await echo("iad")).headers).toMatchObject(there);
  const { headers } = await fetch(cluster.url("ams", "/probe/hops/hop-by-hop"));
  expect([headers.get("keep-alive"), headers.get("x-kept")]).toEqual([null, "yes"]);
});

test("a binary body of many chunks arrives whole", async () => {
  await ownedByIad("bytes");
  const body = new Uint8Array(await (await fetch(cluster.url("ams", "/probe/bytes/bytes"))).arrayBuffer());
  expect([body.length, body.every((byte) => byte === 7)]).toEqual([300_000, true]);
});

describe.each([...ways])("%s", (way, region) => {
  test("server-sent events arrive as they are sent", async () => {
    const path = await ownedByIad(`events-${way}`);
    const response = await fetch(cluster.url(region, `${path}/events`));
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    expect((await reader?.read())?.value).toContain("event: first\ndata: 1");
    meeting(`events-${way}`).go.resolve();
    let rest = "";
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) rest += part.value;
    expect(rest).toContain("event: second\ndata: 2");
  });

  test("E7 a client that goes away ends the handler's signal, and one that got its answer does not", async () => {
    const path = await ownedByIad(`signal-${way}`);
    const leaving = new AbortController();
    const asked = fetch(cluster.url(region, `${path}/wait`), { signal: leaving.signal }).catch(
      (error) => error.name,
    );
    const { entered, left, go } = meeting(`signal-${way}`);
    await entered.promise;
    leaving.abort();
    expect(await asked).toBe("AbortError");
    expect(await withinLimit("the signal", left.promise)).toBe("the signal was aborted");
    go.resolve();
    await quiet(path);

    const answered = await ownedByIad(`answered-${way}`);
    let aborted = false;
    meeting(`answered-${way}`).left.promise.then(() => {
      aborted = true;
    });
    meeting(`answered-${way}`).go.resolve();
    expect(await (await fetch(cluster.url(region, `${answered}/wait`))).text()).toBe("waited");
    await fetch(cluster.url(region, `${answered}/status/204`)); // What a false abort would need has passed by now.
    expect(aborted).toBe(false);
  });

  test("a client that goes away in the middle of a stream cancels it, also while the source waits", async () => {
    const path = await ownedByIad(`stalled-${way}`);
    const client = await RawClient.connect(cluster.host(region).port);
    client.head(`GET ${path}/stalled`);
    await until("the first bytes arrive", () => client.received.includes("\r\n\r\n"));
    await meeting(`stalled-${way}`).entered.promise;
    client.close();
    expect(await withinLimit("the cancel", meeting(`stalled-${way}`).left.promise)).toBe(
      "the stream was cancelled",
    );
    await quiet(path);
  });

  test.each(["Content-Length: 200000", "Transfer-Encoding: chunked"])(
    "an upload (%s) whose client goes away is broken off, never taken for whole",
    async (framing) => {
      const id = `upload-${way}-${framing.length}`;
      const path = await ownedByIad(id);
      const client = await RawClient.connect(cluster.host(region).port);
      client.head(`POST ${path}/upload`, [framing]);
      client.socket.write(
        framing.startsWith("Content") ? "x".repeat(70_000) : `11170\r\n${"x".repeat(70_000)}\r\n`,
      );
      await withinLimit("the first bytes", meeting(id).entered.promise);
      client.close();
      expect(await withinLimit("the end", meeting(id).left.promise)).toBe("broken off");
      await quiet(path);
    },
  );

  test("a client that leaves an event stream ends its generator at the next event", async () => {
    const path = await ownedByIad(`left-${way}`);
    const client = await RawClient.connect(cluster.host(region).port);
    client.head(`GET ${path}/events`);
    await until("the first event arrives", () => client.received.includes("event: first"));
    client.close();
    // A generator that waits for its own promise cannot be interrupted by anyone; the promise is the author's.
    meeting(`left-${way}`).go.resolve();
    expect(await withinLimit("the end", meeting(`left-${way}`).left.promise)).toBe("the generator ended");
    await quiet(path);
  });

  test("a stream that fails half way is not taken for whole", async () => {
    const path = await ownedByIad(`broken-${way}`);
    const client = await RawClient.connect(cluster.host(region).port);
    client.head(`GET ${path}/broken`);
    await until("the first bytes arrive", () => client.received.includes("\r\n\r\n"));
    meeting(`broken-${way}`).go.resolve();
    await until("the connection ends", () => client.isClosed);
    expect(client.received).toContain("200 OK");
    expect(client.received).not.toContain("\r\n0\r\n");
    await quiet(path);
  });
});

test("a call of another object that is given up breaks its reader's stream off, and the source", async () => {
  const path = await ownedByIad("given-up");
  const leaving = new AbortController();
  const request = new Request(cluster.url("ams", `${path}/stalled`), { signal: leaving.signal });
  const response = await cluster.host("ams").parts.dispatcher.call(request, []);
  const reader = response.body?.getReader();
  expect((await reader?.read())?.value).toHaveLength(10);
  const next = reader?.read();
  leaving.abort();
  await expect(until("the stream ends", () => next)).rejects.toThrow();
  expect(await withinLimit("the cancel", meeting("given-up").left.promise)).toBe("the stream was cancelled");
  await quiet(path);
});

/** No event of the object is open any more at its owner. */
function quiet(path: string): Promise<unknown> {
  const activation = cluster.host("iad").parts.table.live(path.slice(1));
  return until(`${path} has no open event`, () => activation?.openEvents === 0);
}

function withinLimit<T>(what: string, promise: Promise<T>): Promise<T> {
  return until(what, () => promise);
}

/** Ends every link between the two hosts, as when the network does. */
function cutLinks(): void {
  for (const link of cluster.host("iad").parts.links.pool.links())
    link.close(new StatefulError("outcome_unknown", "cut by the test"));
}

describe("an owner that is lost", () => {
  test("E3 after it accepted: 502 outcome_unknown, the handler ran once and its signal ended", async () => {
    for (const method of ["GET", "POST"]) {
      const path = await ownedByIad(`cut-${method}`);
      const asked = fetch(cluster.url("ams", `${path}/wait`), { method });
      const { entered, left, go } = meeting(`cut-${method}`);
      await entered.promise;
      cutLinks();
      const response = await asked;
      expect([response.status, (await response.json()).code]).toEqual([502, "outcome_unknown"]);
      expect(await withinLimit("the signal", left.promise)).toBe("the signal was aborted");
      go.resolve();
      await quiet(path);
      expect(meeting(`cut-${method}`).runs).toBe(1);
    }
  });

  test("before it accepted: a GET may be sent again, a POST may have been done", async () => {
    for (const [method, status, code] of [
      ["GET", 503, "owner_unreachable"],
      ["POST", 502, "outcome_unknown"],
    ] as const) {
      const id = `start-${method}`;
      const local = fetch(cluster.url("iad", `/slow/${id}`), { method });
      await meeting(id).entered.promise;
      const asked = fetch(cluster.url("ams", `/slow/${id}`), { method });
      await until(
        "the offer is with iad",
        () => [...cluster.host("iad").parts.links.pool.links()].length > 0,
      );
      await until("ams waits for its answer", () => offersOpen() > 0);
      cutLinks();
      const response = await asked;
      const problem = await response.json();
      expect([response.status, problem.code, problem.retryable]).toEqual([
        status,
        code,
        code === "owner_unreachable",
      ]);
      meeting(id).go.resolve();
      expect(await (await local).json()).toEqual({ runs: 1 });
      // The link comes back by itself; whoever sends again is served.
      const again = await fetch(cluster.url("ams", `/slow/${id}`), { method });
      expect(await again.json()).toEqual({ runs: 2 });
    }
  });

  test("in the middle of a response: the client's stream breaks off", async () => {
    const path = await ownedByIad("cut-stream");
    const response = await fetch(cluster.url("ams", `${path}/stalled`));
    const reader = response.body?.getReader();
    expect((await reader?.read())?.value).toHaveLength(10);
    cutLinks();
    await expect(until("the stream ends", () => reader?.read())).rejects.toThrow();
    expect(await withinLimit("the cancel", meeting("cut-stream").left.promise)).toBe(
      "the stream was cancelled",
    );
    await quiet(path);
  });
});

/** Events that ams has offered to iad and that are not over. */
function offersOpen(): number {
  const [link] = cluster.host("iad").parts.links.pool.links();
  return link instanceof LinkConnection ? link.channelCount : 0;
}

test("E5 an owner that nobody can dial is owner_unreachable, and nobody takes the object over", async () => {
  const lost = await cluster.add("nrt", { privateUrl: "http://127.0.0.1:1" });
  await until("all know nrt", () => cluster.hosts.every(({ parts }) => parts.leases.hosts.length === 3));
  const ids = ["a", "b", "c", "d", "e", "f"];
  for (const id of ids) await lost.parts.table.activate(objectRef("walled", id), "free");
  const ask = (region: string, id: string) => fetch(cluster.url(region, `/walled/${id}`));
  for (const region of ["iad", "ams"]) {
    for (const id of ids) {
      const response = await ask(region, id);
      const problem = await response.json();
      expect([response.status, problem.code, problem.retryable]).toEqual([503, "owner_unreachable", true]);
      // E10: who it is, and neither where it is nor what its session is called.
      expect(problem.detail).toBe(
        `The host that owns walled/${id} cannot be reached from here. No link to ${lost.hostId} (nrt) can be had.`,
      );
      expect(response.headers.get("retry-after")).toBe("1");
    }
  }
  for (const id of ids) expect(await (await ask("nrt", id)).text()).toBe(lost.hostId);
  const starts = cluster.entries.filter(
    ({ event, fields }) => event === "object.started" && String(fields.object).startsWith("walled/"),
  );
  expect(starts.map(({ hostId }) => hostId)).toEqual(ids.map(() => lost.hostId));

  // A link works both ways, whoever dialled it: once nrt has reached iad, iad reaches nrt.
  expect((await fetch(cluster.url("nrt", "/probe/dialled/status/204"))).status).toBe(204);
  expect(await (await ask("iad", "a")).text()).toBe(lost.hostId);
});
