import { afterAll, beforeAll, expect, test } from "bun:test";
import { treaty } from "@elysiajs/eden";
import { t } from "elysia";
import { object } from "stateful-objects";
import { connect, isProblem } from "../../apps/client/index.ts";
import { ScriptedHost } from "./scripted-host.ts";
import { ServedHost } from "./served-host.ts";

/** For its types: nobody runs it. */
const library = object("library", { state: () => ({ books: 0 }) })
  .get("/", ({ state }) => state)
  .get("/search", ({ query }) => query, {
    query: t.Object({ word: t.String(), tags: t.Optional(t.Array(t.String())) }),
  })
  .post("/books", ({ body }) => body, { body: t.Object({ title: t.String() }) })
  .get("/shelves/:shelf/count", () => 3)
  .post("/cover", () => "taken", { body: t.Object({ image: t.File() }) })
  .post("/note", () => "taken", { body: t.String() })
  .delete("/books", () => true);

interface Seen {
  method: string;
  path: string;
  body: string;
  headers: Record<string, string>;
}

const seen: Seen[] = [];
let answer: (request: Request) => Response | Promise<Response> = () => Response.json({});
let served: ServedHost;

beforeAll(() => {
  served = new ServedHost(new ScriptedHost("iad-1"), async (request) => {
    const { pathname, search } = new URL(request.url);
    const type = request.headers.get("content-type") ?? "";
    const body = type.startsWith("multipart")
      ? [...(await request.clone().formData()).keys()].join()
      : await request.clone().text();
    seen.push({ method: request.method, path: pathname + search, body, headers: request.headers.toJSON() });
    return answer(request);
  });
});
afterAll(() => served.stop());

const shelf = (options: Parameters<typeof connect>[1] = {}, urls: string | string[] = served.url) => {
  seen.length = 0;
  return connect(urls, options).object<typeof library>("library", "main/1 ü").call;
};

test("C13 a call is the request that Eden would make, for the object that is named", async () => {
  const call = shelf();
  answer = () => Response.json({ books: 3 });
  expect(await call.get()).toMatchObject({ data: { books: 3 }, error: null, status: 200 });
  await call.search.get({ query: { word: "a b", tags: ["x", "y"] } });
  await call.books.post({ title: "Dune" });
  await call.shelves({ shelf: "a/b" }).count.get();
  await call.cover.post({ image: new File(["pixels"], "cover.png") });
  await call.note.post("a note");
  await call.books.delete(undefined, { headers: { "x-reason": "old" } });
  const base = "/library/main%2F1%20%C3%BC";
  expect(seen.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["GET", base, ""],
    ["GET", `${base}/search?word=a+b&tags=x&tags=y`, ""],
    ["POST", `${base}/books`, '{"title":"Dune"}'],
    ["GET", `${base}/shelves/a%2Fb/count`, ""],
    ["POST", `${base}/cover`, "image"],
    ["POST", `${base}/note`, "a note"],
    ["DELETE", `${base}/books`, ""],
  ]);
  expect(seen[2]?.headers["content-type"]).toBe("application/json");
  expect(seen[4]?.headers["content-type"]).toStartWith("multipart/form-data; boundary=");
  expect(seen[5]?.headers["content-type"]).toBe("text/plain");
  expect(seen[6]?.headers["x-reason"]).toBe("old");
});

test("C13 a query arrives from browsers, too, whose URLSearchParams do not say how many they are", async () => {
  const size = Object.getOwnPropertyDescriptor(URLSearchParams.prototype, "size");
  Reflect.deleteProperty(URLSearchParams.prototype, "size"); // as in Safari before 17
  try {
    await shelf().search.get({ query: { word: "a b" } });
  } finally {
    if (size) Object.defineProperty(URLSearchParams.prototype, "size", size);
  }
  expect(seen.map(({ path }) => path)).toEqual(["/library/main%2F1%20%C3%BC/search?word=a+b"]);
});

test("C13 a call and its answer are as with Eden's own run time", async () => {
  const eden = treaty<typeof library>(served.url, { parseDate: false }).library({ id: "main" });
  const { call: ours } = connect(served.url).object<typeof library>("library", "main");
  const answers: (() => Response)[] = [
    () => Response.json({ books: 3 }),
    () => Response.json(null),
    () => new Response("7"),
    () => new Response("false"),
    () => new Response("some text"),
    () => new Response(null, { status: 204 }),
    () => Response.json({ type: "validation" }, { status: 422 }),
    () => new Response("nothing here", { status: 404 }),
    () =>
      new Response('{"code":"x"}', { status: 503, headers: { "content-type": "application/problem+json" } }),
  ];
  const calls: ((client: typeof ours) => Promise<{ data: unknown; error: unknown; status: number }>)[] = [
    (client) => client.get(),
    (client) => client.search.get({ query: { word: "a&b", tags: ["x", "y"] }, headers: { "x-a": "1" } }),
    (client) => client.books.post({ title: "Dune" }, { headers: { "x-a": "1" } }),
    (client) => client.shelves({ shelf: 7 }).count.get(),
    (client) => client.note.post("a note"),
    (client) => client.books.delete(),
    (client) => client.cover.post({ image: new File(["pixels"], "cover.png") }),
  ];
  for (const make of answers) {
    answer = make;
    for (const call of calls) {
      const results = [];
      for (const client of [eden, ours]) {
        seen.length = 0;
        const { data, error, status } = await call(client);
        // An error of the call, whose fields those of Eden's are; the types know it as what the class declares.
        const { status: code, value } = (error ?? {}) as { status?: unknown; value?: unknown };
        results.push({ data, status, code, value, ...seen[0], headers: comparable(seen[0]) });
      }
      expect<unknown>(results[1]).toEqual(results[0]);
    }
  }
});

/** Without those that differ by chance; and Eden names a content type also where there is no content. */
function comparable({ headers, body }: Partial<Seen> = {}) {
  return { type: body ? headers?.["content-type"]?.split(";")[0] : undefined, a: headers?.["x-a"] };
}

test("C13 what an answer holds is read by its type; dates stay text", async () => {
  const call = shelf();
  const cases: [Response, unknown][] = [
    [new Response("12"), 12],
    [new Response("true"), true],
    [new Response("a text"), "a text"],
    [new Response(""), ""],
    [new Response(null, { status: 204 }), ""],
    [Response.json({ at: "2030-01-01T00:00:00.000Z" }), { at: "2030-01-01T00:00:00.000Z" }],
    [new Response("2030-01-01T00:00:00.000Z"), "2030-01-01T00:00:00.000Z"],
  ];
  for (const [response, data] of cases) {
    answer = () => response;
    expect((await call.get()).data as unknown).toEqual(data); // the class says what it is; this test says otherwise
  }
  answer = () =>
    new Response(new Uint8Array([1, 2]), { headers: { "content-type": "application/octet-stream" } });
  expect(new Uint8Array((await call.get()).data as never)).toEqual(new Uint8Array([1, 2])); // the class says otherwise
});

test("C13 an event stream is a loop over its events, and leaving the loop ends the request", async () => {
  const gone = Promise.withResolvers<void>();
  const chunks = [
    "data: 1\n\nevent: tick\nid: 7\nda",
    'ta: {"n":2}\n\n: comment\n\n',
    "data: a\ndata: b\n\n",
  ];
  answer = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          const chunk = chunks.shift();
          if (chunk === undefined) return new Promise(() => undefined);
          controller.enqueue(new TextEncoder().encode(chunk));
          return undefined;
        },
        cancel: () => gone.resolve(),
      }),
      { headers: { "content-type": "text/event-stream" } },
    );
  const { data } = await shelf().get();
  const events: unknown[] = [];
  // The class knows of no stream.
  for await (const event of data as unknown as AsyncIterable<unknown>) {
    events.push(event);
    if (events.length === 3) break;
  }
  expect(events).toEqual([{ data: 1 }, { event: "tick", id: "7", data: { n: 2 } }, { data: "a\nb" }]);
  await gone.promise;
});

test("C13 a refusal of ours is a problem document in error.value; a class's own is what it wrote", async () => {
  const problem = {
    type: "urn:stateful-objects:error:host_draining",
    code: "host_draining",
    status: 503,
    retryable: true,
  };
  answer = () =>
    new Response(JSON.stringify(problem), {
      status: 503,
      headers: { "content-type": "application/problem+json" },
    });
  const call = shelf();
  const { data, error, status, response } = await call.get();
  expect({ data, status, type: response?.headers.get("content-type") }).toEqual({
    data: null,
    status: 503,
    type: "application/problem+json",
  });
  expect(isProblem(error?.value) && error.value.code).toBe("host_draining");
  answer = () => new Response("No such channel.", { status: 404 });
  const other = await call.get();
  expect<unknown[]>([other.status, other.error?.value, isProblem(other.error?.value)]).toEqual([
    404,
    "No such channel.",
    false,
  ]);
  expect(call.get({ throwHttpError: true })).rejects.toMatchObject({ status: 404 });
});

test("C5 C13 headers are asked for with each call, and the call's own go before", async () => {
  let count = 0;
  const call = shelf({ headers: async () => ({ Authorization: `Bearer ${++count}`, "x-from": "client" }) });
  answer = () => Response.json({});
  await call.get();
  await call.get({ headers: { "X-From": "call" } });
  expect(seen.map(({ headers }) => [headers.authorization, headers["x-from"]])).toEqual([
    ["Bearer 1", "client"],
    ["Bearer 2", "call"],
  ]);
  const failing = shelf({ headers: () => Promise.reject(new Error("no token")) });
  expect<unknown>((await failing.get()).error?.value).toEqual(new Error("no token"));
  expect(seen).toEqual([]);
});

test("C8 C13 a host that cannot be reached costs a read nothing; a write fails, and the next one goes elsewhere", async () => {
  const gone = new ServedHost(new ScriptedHost("gone"));
  await gone.stop();
  answer = () => Response.json({ books: 1 });
  expect(await shelf({}, [gone.url, served.url]).get()).toMatchObject({ data: { books: 1 } });
  const call = shelf({}, [gone.url, served.url]);
  const first = await call.books.post({ title: "Dune" });
  expect<unknown[]>([first.status, first.data, first.response]).toEqual([503, null, undefined]);
  expect(first.error?.value).toBeInstanceOf(Error);
  expect(await call.books.post({ title: "Dune" })).toMatchObject({ status: 200 });
  expect(seen.length).toBe(1);
  expect(await shelf({}, [gone.url]).get()).toMatchObject({ status: 503 });
});

test("C15 a signal ends a call, and so does the end of the client", async () => {
  const arrived = Promise.withResolvers<void>();
  answer = () => {
    arrived.resolve();
    return new Promise<Response>(() => undefined);
  };
  const controller = new AbortController();
  const client = connect(served.url);
  const { call } = client.object<typeof library>("library", "main");
  const aborted = call.get({ fetch: { signal: controller.signal } });
  const closed = call.books.post({ title: "Dune" });
  await arrived.promise;
  controller.abort(new Error("enough"));
  expect<unknown>((await aborted).error?.value).toEqual(new Error("enough"));
  client.close();
  expect((await closed).error?.value).toMatchObject({ code: "closed" });
});

test("C13 what is no call says so, and nothing takes an object's calls for a promise", async () => {
  const call = shelf();
  expect(await Promise.resolve(call)).toBe(call);
  expect(`${call.books["~path"]}`).toBe("/books");
  const { live } = call as unknown as { live: { subscribe(): void } }; // a class with sockets has it in its types
  expect(() => live.subscribe()).toThrow('socket("/live")');
});
