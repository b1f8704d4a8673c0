import { expect, test } from "bun:test";
import { Elysia, sse, t } from "elysia";
import { object, StatefulError } from "stateful-objects";
import { isStreamed } from "../../infra/object/adapter.ts";
import { until } from "../support/wait.ts";
import { FakeHost } from "./fake-scope.ts";

test("a handler finds the object's handles in its context", async () => {
  const host = new FakeHost(
    object("box", { state: () => ({ count: 1 }) }).get("/", ({ objectId, state, host }) => ({
      objectId,
      state,
      region: host.region,
    })),
    { id: "ä/b" },
  );
  expect(await (await host.get("/")).json()).toEqual({ objectId: "ä/b", state: { count: 1 }, region: "ams" });
});

test("a query, params, headers and a body reach the handler as in any Elysia app", async () => {
  const host = new FakeHost(
    object("box").post("/say/:word", ({ params, query, headers, body }) => ({
      params,
      query,
      language: headers["accept-language"],
      body,
    })),
  );
  const response = await host.request("/say/hi?loud=yes&x=%20", {
    method: "POST",
    headers: { "content-type": "application/json", "accept-language": "de" },
    body: '{"a":1}',
  });
  expect(await response.json()).toEqual({
    params: { id: "a", word: "hi" },
    query: { loud: "yes", x: " " },
    language: "de",
    body: { a: 1 },
  });
});

test("an optional body may be missing", async () => {
  const host = new FakeHost(
    object("box").post("/", ({ body }) => ({ body: body ?? "none" }), {
      body: t.Optional(t.Object({ by: t.Number() })),
    }),
  );
  expect(await (await host.post("/")).json()).toEqual({ body: "none" });
  expect(await (await host.post("/", { by: 2 })).json()).toEqual({ body: { by: 2 } });
});

test("a state that a handler changes is the object's", async () => {
  const host = new FakeHost(
    object("box", { state: () => ({ count: 0 }) }).post("/", ({ state }) => ++state.count),
  );
  await host.post("/");
  expect(await (await host.post("/")).text()).toBe("2");
  expect(host.scope.state).toEqual({ count: 2 });
});

test("calls to other objects carry the chain of callers of this event", async () => {
  const host = new FakeHost(object("box").get("/", ({ objects }) => typeof objects));
  await host.request("/", {}, ["box/first", "box/second"]);
  expect(host.scope.chains).toEqual([["box/first", "box/second"]]);
});

test("headers, a status and cookies that a handler sets are on the response", async () => {
  const host = new FakeHost(
    object("box").get("/", ({ set, cookie, status }) => {
      set.headers["x-from"] = "box";
      cookie.seen?.set({ value: "yes", httpOnly: true });
      return status(201, { made: true });
    }),
  );
  const response = await host.get("/");
  expect(response.status).toBe(201);
  expect(response.headers.get("x-from")).toBe("box");
  expect(response.headers.get("set-cookie")).toContain("seen=yes");
  expect(await response.json()).toEqual({ made: true });
});

test("default headers of a class are on every response", async () => {
  const host = new FakeHost(
    object("box")
      .headers({ "x-class": "box" })
      .get("/", () => "ok"),
  );
  expect((await host.get("/")).headers.get("x-class")).toBe("box");
  expect((await host.get("/nothing")).headers.get("x-class")).toBe("box");
});

test("HEAD answers as GET does, without the body", async () => {
  const host = new FakeHost(object("box").get("/", () => "four"));
  const response = await host.request("/", { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-length")).toBe("4");
  expect(await response.text()).toBe("");
});

test("HEAD of a stream answers at once and ends the stream", async () => {
  let isEnded = false;
  const host = new FakeHost(
    object("box").get("/", async function* () {
      try {
        for (;;) yield "more";
      } finally {
        isEnded = true;
      }
    }),
  );
  const response = await host.request("/", { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(response.body).toBeNull();
  expect(isStreamed(response)).toBe(false);
  expect(isEnded).toBe(true);
});

// -- what goes wrong

test("O2 input that does not match its schema is a problem that says where", async () => {
  const host = new FakeHost(object("box").post("/", () => "ok", { body: t.Object({ by: t.Number() }) }));
  const response = await host.post("/", { by: "two" });
  expect(response.status).toBe(422);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(await response.json()).toMatchObject({
    code: "invalid_input",
    type: "urn:stateful-objects:error:invalid_input",
    status: 422,
    on: "body",
    at: "/by",
    retryable: false,
  });
  expect(host.scope.failures).toEqual([]);
});

test("a schema of the Standard Schema kind is validated alike", async () => {
  const host = new FakeHost(object("box").post("/", ({ body }) => body, { body: shortText }));
  const text = { method: "POST", headers: { "content-type": "text/plain" } };
  expect(await (await host.request("/", { ...text, body: "abc" })).text()).toBe("abc");
  const response = await host.request("/", { ...text, body: "abcdef" });
  expect(await response.json()).toMatchObject({
    code: "invalid_input",
    detail: expect.stringContaining("at most 3"),
  });
});

test("a body that is not what its content type says is a bad request", async () => {
  const host = new FakeHost(object("box").post("/", ({ body }) => ({ body })));
  const headers = { "content-type": "application/json" };
  const response = await host.request("/", { method: "POST", headers, body: "{" });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: "bad_request" });
});

test("input that cannot be decoded is the client's mistake", async () => {
  const date = t.Transform(t.String()).Decode(parseDay).Encode(String);
  const host = new FakeHost(object("box").get("/", ({ query }) => query, { query: t.Object({ day: date }) }));
  const response = await host.get("/?day=someday");
  expect(response.status).toBe(422);
  expect(await response.text()).not.toContain("parseDay");
});

test("O3 a handler that throws answers 500 with an id that is in the log, and shows nothing else", async () => {
  const thrown = new Error("password is hunter2");
  const host = new FakeHost(
    object("box").get("/", () => {
      throw thrown;
    }),
  );
  const response = await host.get("/");
  const text = await response.text();
  expect(response.status).toBe(500);
  expect(JSON.parse(text)).toMatchObject({ code: "handler_failed", errorId: "error-1" });
  expect(text).not.toContain("hunter2");
  expect(host.scope.failures).toEqual([{ errorId: "error-1", thrown }]);
});

test.each([
  ["text", "password is hunter2"],
  ["an object", { message: "hunter2" }],
  ["a number", 7],
])("O3 a handler that throws %s instead of an error shows nothing either", async (_what, thrown) => {
  const host = new FakeHost(
    object("box").get("/", async () => {
      throw thrown;
    }),
  );
  const response = await host.get("/");
  expect(response.status).toBe(500);
  expect(await response.json()).toMatchObject({ code: "handler_failed", errorId: "error-1" });
  expect(host.scope.failures).toEqual([{ errorId: "error-1", thrown }]);
});

test("O3 a handler that breaks off because its client left has not failed; one that fails after that has", async () => {
  const client = new AbortController();
  const thrown = new Error("later");
  const host = new FakeHost(
    object("box")
      .get("/left", async ({ request }) => {
        client.abort();
        request.signal.throwIfAborted();
      })
      .get("/failed", async () => {
        throw thrown;
      }),
  );
  expect((await host.request("/left", { signal: client.signal })).status).toBe(400);
  expect(host.scope.failures).toEqual([]);
  expect((await host.request("/failed", { signal: client.signal })).status).toBe(500);
  expect(host.scope.failures).toEqual([{ errorId: "error-1", thrown }]);
});

test("a rejected promise of a handler that is not async is a failed handler too", async () => {
  const host = new FakeHost(object("box").get("/", () => Promise.reject(new Error("later"))));
  expect(await (await host.get("/")).json()).toMatchObject({ code: "handler_failed" });
});

test.each(["afterHandle", "mapResponse"] as const)(
  "O3 an %s hook that throws shows nothing either",
  async (hook) => {
    const thrown = new Error("password is hunter2");
    const fails = () => {
      throw thrown;
    };
    const host = new FakeHost(object("box").get("/", () => "fine", { [hook]: fails }));
    const response = await host.get("/");
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ code: "handler_failed", errorId: "error-1" });
    expect(host.scope.failures).toEqual([{ errorId: "error-1", thrown }]);
  },
);

test("O3 a StatefulError that a handler throws is its problem document", async () => {
  const host = new FakeHost(
    object("box").get("/", () => {
      throw new StatefulError("queue_full", "Come back later.", { retryAfterMs: 1500 });
    }),
  );
  const response = await host.get("/");
  expect(response.status).toBe(429);
  expect(response.headers.get("retry-after")).toBe("2");
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(await response.json()).toMatchObject({ code: "queue_full", detail: "Come back later." });
  expect(host.scope.failures).toEqual([]);
});

test("O3 `throw status(418)` answers 418", async () => {
  const host = new FakeHost(
    object("box").get("/", ({ status }) => {
      throw status(418, { short: true });
    }),
  );
  const response = await host.get("/");
  expect(response.status).toBe(418);
  expect(await response.json()).toEqual({ short: true });
});

test("a Response that is thrown is the answer", async () => {
  const host = new FakeHost(
    object("box").get("/", () => {
      throw new Response("no", { status: 403 });
    }),
  );
  const response = await host.get("/");
  expect([response.status, await response.text()]).toEqual([403, "no"]);
});

test("O3 the author's onError answers before we do", async () => {
  const host = new FakeHost(
    object("box")
      .onError(({ code, error, status }) =>
        status(400, { code, message: error instanceof Error && error.message }),
      )
      .get("/", () => {
        throw new Error("mine");
      })
      .get("/ours", () => {
        throw new StatefulError("forbidden", "no");
      })
      .post("/", () => "ok", { body: t.Object({ by: t.Number() }) }),
  );
  expect(await (await host.get("/")).json()).toEqual({ code: "UNKNOWN", message: "mine" });
  expect(await (await host.get("/ours")).json()).toEqual({ code: "forbidden", message: "no" });
  expect(await (await host.post("/", 7)).json()).toMatchObject({ code: "VALIDATION" });
  expect(await (await host.get("/nothing")).json()).toMatchObject({ code: "NOT_FOUND" });
  expect(host.scope.failures).toEqual([]);
});

test("an onError that answers nothing leaves the failure to us", async () => {
  const seen: unknown[] = [];
  const host = new FakeHost(
    object("box")
      .onError(({ code }) => {
        seen.push(code);
      })
      .get("/", () => {
        throw new Error("mine");
      }),
  );
  expect(await (await host.get("/")).json()).toMatchObject({ code: "handler_failed" });
  expect(seen).toEqual(["UNKNOWN"]);
});

test("a path that no route matches is a problem with 404", async () => {
  const host = new FakeHost(object("box").get("/", () => "ok"));
  const response = await host.get("/nothing?secret=1");
  expect(response.status).toBe(404);
  expect(await response.json()).toMatchObject({
    code: "not_found",
    detail: expect.stringContaining("/box/a/nothing"),
  });
  expect((await host.request("/", { method: "DELETE" })).status).toBe(404);
});

test("a plain request for a socket's path is told to upgrade", async () => {
  const host = new FakeHost(object("box").ws("/live", { message: () => undefined }));
  const response = await host.get("/live");
  expect(response.status).toBe(426);
  expect(response.headers.get("upgrade")).toBe("websocket");
  expect(await response.json()).toMatchObject({ code: "upgrade_required" });
});

test("headers set before a failure stay on the problem, so that browsers of other origins can read it", async () => {
  const host = new FakeHost(
    object("box")
      .onRequest(({ set }) => {
        set.headers["access-control-allow-origin"] = "*";
        set.headers["content-type"] = "text/html";
      })
      .get("/", () => {
        throw new Error("mine");
      })
      .post("/", () => "ok", { body: t.Object({ by: t.Number() }) }),
  );
  for (const response of [await host.get("/"), await host.get("/nothing"), await host.post("/", 7)]) {
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("content-type")).toBe("application/problem+json");
  }
});

test("an answer that breaks its own schema is the handler's mistake and shows none of it", async () => {
  const host = new FakeHost(
    // @ts-expect-error the schema says that this must be a number
    object("box").get("/", () => ({ count: "hunter2" }), { response: t.Object({ count: t.Number() }) }),
  );
  const response = await host.get("/");
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain("hunter2");
  expect(host.scope.failures).toHaveLength(1);
});

test("a class that is called without a host says how to test it", async () => {
  const app = object("box").get("/", () => "ok");
  await expect(app.handle(new Request("http://localhost/box/a/"))).rejects.toThrow("startHost");
});

// -- Elysia's ways to put an app together

test("O1 derive, resolve, decorate, guard, group, macro and plugins work as in any Elysia app", async () => {
  const greeting = new Elysia({ name: "greeting" }).derive({ as: "global" }, () => ({ greeting: "hello" }));
  const host = new FakeHost(
    object("box", { state: () => ({ name: "box" }) })
      .use(greeting)
      .decorate("version", 3)
      .derive(({ headers }) => ({ user: headers["x-user"] }))
      .resolve(({ user, state }) => ({ owner: `${user} of ${state.name}` }))
      .macro({ shout: { afterHandle: ({ response }) => String(response).toUpperCase() } })
      .get("/", ({ greeting, version, owner }) => `${greeting} ${version} ${owner}`)
      .get("/loud", () => "quiet", { shout: true })
      .group("/inner", (app) =>
        app.get("/:what", ({ params, state, version }) => ({ params, state, version })),
      )
      .guard({ query: t.Object({ key: t.Literal("open") }) }, (app) =>
        app.get("/guarded", ({ query }) => query.key),
      ),
  );
  expect(await (await host.request("/", { headers: { "x-user": "ada" } })).text()).toBe("hello 3 ada of box");
  expect(await (await host.get("/loud")).text()).toBe("QUIET");
  expect(await (await host.get("/inner/x")).json()).toEqual({
    params: { id: "a", what: "x" },
    state: { name: "box" },
    version: 3,
  });
  expect((await host.get("/guarded")).status).toBe(422);
  expect(await (await host.get("/guarded?key=open")).text()).toBe("open");
});

test("O1 models may be named", async () => {
  const host = new FakeHost(
    object("box")
      .model({ step: t.Object({ by: t.Number() }) })
      .post("/", ({ body }) => body.by, { body: "step" }),
  );
  expect(await (await host.post("/", { by: 3 })).text()).toBe("3");
  expect((await host.post("/", {})).status).toBe(422);
});

test("a plugin that looks for Bun's server finds one that knows no addresses", async () => {
  const host = new FakeHost(
    object("box").get("/", ({ server, request }) => ({ ip: server?.requestIP(request) })),
  );
  expect(await (await host.get("/")).json()).toEqual({ ip: null });
});

test("a Response of the author's own is passed on", async () => {
  const host = new FakeHost(
    object("box").get("/", () => new Response("raw", { status: 202, headers: { "x-a": "b" } })),
  );
  const response = await host.get("/");
  expect([response.status, response.headers.get("x-a"), await response.text()]).toEqual([202, "b", "raw"]);
});

// -- streams

test("a generator's values are server-sent events, and the response is known to be a stream", async () => {
  const host = new FakeHost(
    object("box").get("/", async function* ({ state }) {
      yield sse({ event: "first", data: state });
      yield sse({ data: "last" });
    }),
  );
  const response = await host.get("/");
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  expect(isStreamed(response)).toBe(true);
  expect(await response.text()).toBe("event: first\ndata: {}\n\ndata: last\n\n");
});

const stream = () => new Response("grows").body;

test.each([
  ["a ReadableStream", () => stream()],
  ["a Response", () => new Response(stream())],
  ["a promise of a Response", () => Promise.resolve(new Response(stream()))],
  ["an async Response", async () => new Response(stream())],
])("%s may be a stream", async (_what, handler) => {
  const response = await new FakeHost(object("box").get("/", handler)).get("/");
  expect(isStreamed(response)).toBe(true);
  expect(await response.text()).toBe("grows");
});

test("a stream in a status is a stream", async () => {
  const host = new FakeHost(object("box").get("/", ({ status }) => status(201, stream())));
  const response = await host.get("/");
  expect(response.status).toBe(201);
  expect(isStreamed(response)).toBe(true);
});

test.each([
  ["text", () => "whole"],
  ["JSON", () => ({ whole: true })],
  ["an async list", async () => [1, 2]],
  ["nothing", () => undefined],
])("%s is no stream", async (_what, handler) => {
  const response = await new FakeHost(object("box").get("/", handler)).get("/");
  expect(isStreamed(response)).toBe(false);
});

// -- serial classes

test("O2 a serial class enters the gate after validation, before anything of the author's that may await", async () => {
  const steps: string[] = [];
  const host = new FakeHost(
    object("box", { concurrency: "serial" })
      .resolve(() => void steps.push("resolve"))
      .post(
        "/",
        () => {
          steps.push("handler");
          return "ok";
        },
        { body: t.Object({ by: t.Number() }), beforeHandle: () => void steps.push("beforeHandle") },
      ),
  );
  expect((await host.post("/", { by: "x" })).status).toBe(422);
  expect(host.scope.entered).toHaveLength(0);

  const gate = Promise.withResolvers<void>();
  host.scope.gate = gate.promise;
  const response = host.post("/", { by: 1 });
  await until("the event is at the gate", () => host.scope.entered.length === 1);
  expect(steps).toEqual([]);
  gate.resolve();
  expect(await (await response).text()).toBe("ok");
  expect(steps).toEqual(["resolve", "beforeHandle", "handler"]);
});

test("a gate that refuses is the answer", async () => {
  const host = new FakeHost(object("box", { concurrency: "serial" }).get("/", () => "ok"));
  host.scope.gate = Promise.reject(new StatefulError("call_cycle", "round and round"));
  expect(await (await host.get("/")).json()).toMatchObject({ code: "call_cycle" });
});

test("a class that interleaves never asks for the gate", async () => {
  const host = new FakeHost(object("box").get("/", () => "ok"));
  await host.get("/");
  expect(host.scope.entered).toEqual([]);
});

// -- declared topics

test("a declared topic that is open accepts an upgrade without a handler of the author's", async () => {
  const host = new FakeHost(object("box", { topics: { news: { subscribe: "anyone" } } }));
  const socket = await host.connect("/-/topics/news");
  expect(socket.subscriptions).toEqual(["news"]);
  await socket.receive("hello");
  expect(socket.closed?.code).toBe(4403);
});

test("a topic that clients publish to hears them", async () => {
  const host = new FakeHost(object("box", { topics: { news: { subscribe: "anyone", publish: "clients" } } }));
  const socket = await host.connect("/-/topics/news");
  await socket.receive("hello");
  expect(host.scope.published).toEqual([{ topic: "news", message: "hello" }]);
});

test.each(["closed", "unheard-of"])("a topic that is not open (%s) is refused", async (topic) => {
  const host = new FakeHost(object("box", { topics: { closed: {}, open: { subscribe: "anyone" } } }));
  const { slot, response } = await host.upgrade(`/-/topics/${topic}`);
  expect(slot.accepted).toBeUndefined();
  expect(response.status).toBe(403);
  expect(await response.json()).toMatchObject({ code: "topic_closed" });
});

test("a function decides for each subscriber, and the class's own hooks stand before it", async () => {
  const host = new FakeHost(
    object("box", {
      state: () => ({ friends: ["ada"] }),
      topics: {
        news: {
          subscribe: ({ request, state }) => state.friends.includes(request.headers.get("x-user") ?? ""),
        },
      },
    }).onBeforeHandle(({ headers, status }) => (headers["x-banned"] ? status(401) : undefined)),
  );
  expect((await host.upgrade("/-/topics/news", { "x-user": "ada" })).slot.accepted).toBeDefined();
  expect((await host.upgrade("/-/topics/news", { "x-user": "eve" })).response.status).toBe(403);
  expect((await host.upgrade("/-/topics/news", { "x-user": "ada", "x-banned": "1" })).response.status).toBe(
    401,
  );
});

const tooLong = { issues: [{ message: "at most 3 characters" }] };
const shortText = {
  "~standard": {
    version: 1 as const,
    vendor: "test",
    types: undefined as { readonly input: string; readonly output: string } | undefined, // only ever a type
    validate: (value: unknown) => (typeof value === "string" && value.length <= 3 ? { value } : tooLong),
  },
};

function parseDay(text: string): Date {
  const day = new Date(text);
  if (Number.isNaN(day.getTime())) throw new Error("parseDay saw no day");
  return day;
}
