import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Packr } from "msgpackr";
import { t } from "elysia";
import { object } from "stateful-objects";
import { systemRequest } from "../../infra/host/system-calls.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { adminToken } from "../support/admin-token.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { until } from "../support/wait.ts";

const packr = new Packr({ structuredClone: true, moreTypes: true, useBigIntExtension: true });

const box = object("box", { state: () => ({ seen: new Map<string, number>(), calls: 0 }) })
  .get("/", ({ state, host }) => ({ calls: ++state.calls, region: host.region }))
  .get("/value/:key", async ({ storage, params }) => ({ value: (await storage.get(params.key)) ?? null }))
  .get("/peek/:key", ({ storage, params }) => ({ value: storage.peek(params.key)?.value ?? null }))
  .post("/see/:who", ({ state, params }) => void state.seen.set(params.who, 1))
  .put("/value/:key", async ({ storage, params, body }) => void (await storage.put(params.key, body.value)), {
    body: t.Object({ value: t.Unknown() }),
  })
  .post("/odd", async ({ storage }) => {
    const cycle: Record<string, unknown> = { name: "loop" };
    cycle.self = cycle;
    const odd = {
      map: new Map([["a", 1]]),
      set: new Set([1n]),
      at: new Date(0),
      nan: Number.NaN,
      bytes: new Uint8Array([1, 2]),
    };
    await storage.putMany({ cycle, odd, plain: { a: [1, "b", null] } });
  });

let open = Promise.withResolvers<void>();
const queue = object("queue", {
  concurrency: "serial",
  state: (): { steps: string[] } => ({ steps: [] }),
}).get("/", async ({ storage, state }) => {
  state.steps.push("begins");
  await open.promise;
  return (await storage.get("n")) ?? "none";
});

const strange = object("strange", { state: () => ({ run: () => 1, big: 1n }) }).get("/", () => "here");

const ticker = object("ticker", {
  state: (): { fired: string[] } => ({ fired: [] }),
  onAlarm({ name, state, payload }) {
    if (payload === "fail") throw new Error("never");
    state.fired.push(name);
  },
})
  .get("/", ({ state }) => state.fired)
  .post(
    "/set/:name/:ms",
    ({ alarms, params }) => void alarms.set(params.name, { afterMs: Number(params.ms) }, new Map([["k", 1]])),
  );

let cluster: Cluster;
beforeAll(async () => {
  const classes = [box, queue, strange, ticker];
  cluster = await startCluster({ classes, regions: ["iad", "ams"], config: { adminToken } });
});
afterAll(() => cluster?.stop());

interface AdminInit extends RequestInit {
  readonly region?: string;
  readonly json?: unknown;
  readonly accept?: string;
  readonly bearer?: string | undefined;
}

function admin(
  path: string,
  { region = "iad", json, accept, bearer = adminToken, ...init }: AdminInit = {},
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${bearer}`);
  if (accept !== undefined) headers.set("accept", accept);
  if (json === undefined) return fetch(cluster.url(region, path), { ...init, headers });
  headers.set("content-type", "application/json");
  return fetch(cluster.url(region, path), { method: "PUT", ...init, headers, body: JSON.stringify(json) });
}

const asJson = { accept: "application/json" };
const ask = async (region: string, path: string, init?: RequestInit) =>
  (await fetch(cluster.url(region, path), init)).json();
const codeOf = async (response: Response) => `${response.status} ${(await response.json()).code}`;

test("figures are for whoever scrapes them, with their kinds", async () => {
  const answer = await fetch(cluster.url("iad", "/-/metrics"), {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = (await answer.text()).split("\n");
  expect(lines).toContain("# TYPE stateful_slow_readers_closed_total counter");
  expect(lines).toContain("# TYPE stateful_sockets gauge");
  expect(lines.filter((line) => /^stateful_[a-z_]+ \d+$/.test(line)).length).toBeGreaterThanOrEqual(8);
  const put = await fetch(cluster.url("iad", "/-/metrics"), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
  });
  expect(put.status).toBe(404);
});

describe("who is let in", () => {
  const paths = [
    "/-/alarms",
    "/-/metrics",
    "/-/objects/box/auth/state",
    "/-/objects/box/auth/nothing",
    "/-/objects/",
  ];

  test.each(paths)("E13 %s asks for the token, whatever else is wrong", async (path) => {
    const spellings = [
      "",
      "Bearer",
      `Basic ${adminToken}`,
      adminToken,
      `Bearer ${adminToken}x`,
      `Bearer ${adminToken.slice(1)}`,
      "Bearer x",
    ];
    for (const authorization of spellings) {
      const headers = authorization === "" ? new Headers() : new Headers({ authorization });
      for (const method of ["GET", "PUT", "POST", "DELETE"]) {
        const response = await fetch(cluster.url("iad", path), { method, headers });
        expect(response.headers.get("www-authenticate")).toBe("Bearer");
        expect(await codeOf(response)).toBe("401 unauthorized");
      }
    }
    expect([...cluster.host("iad").parts.table.all()].map(({ ref }) => ref.key)).not.toContain("box/auth");
  });

  test("the scheme is spelled as one likes", async () => {
    const headers = { authorization: `bEARER  ${adminToken}` };
    expect((await fetch(cluster.url("iad", "/-/alarms"), { headers })).status).toBe(200);
  });

  test("E13 without a token in the settings nobody is, and is told what to set", async () => {
    const shut = await startCluster({ classes: [box], regions: ["iad"], config: { adminToken: undefined } });
    try {
      for (const headers of [
        {},
        { authorization: `Bearer ${adminToken}` },
        { authorization: "Bearer undefined" },
      ]) {
        const response = await fetch(shut.url("iad", "/-/objects/box/a/state"), {
          headers: new Headers(headers),
        });
        const { code, detail } = await response.json();
        expect([response.status, code]).toEqual([403, "forbidden"]);
        expect(detail).toContain("STATEFUL_ADMIN_TOKEN");
      }
    } finally {
      await shut.stop();
    }
  });

  test("E34 outside dev anybody is told where an object lives, and only an operator why", async () => {
    const shut = await startCluster({
      ...{ classes: [box], regions: ["iad", "ams"] },
      config: { adminToken, isDev: false },
    });
    try {
      await fetch(shut.url("iad", "/box/seen"));
      const explained = async (region: string, headers = {}) =>
        (await fetch(shut.url(region, "/-/explain/box/seen"), { headers })).json();
      for (const region of ["iad", "ams"]) {
        for (const authorization of ["", "Bearer", `Bearer ${adminToken}x`, `Basic ${adminToken}`]) {
          const told = await explained(region, authorization === "" ? {} : { authorization });
          expect(Object.keys(told).sort()).toEqual(["askedFrom", "object", "owner"]);
          expect(told.owner).toMatchObject({ region: "iad" });
        }
        const whole = await explained(region, { authorization: `Bearer ${adminToken}` });
        expect(whole.candidates.map((each: { load: number }) => typeof each.load)).toEqual([
          "number",
          "number",
        ]);
      }
      expect(Object.keys(await (await fetch(shut.url("iad", "/-/health"))).json()).sort()).toEqual([
        "hostId",
        "hosts",
        "objects",
        "region",
        "status",
      ]);
    } finally {
      await shut.stop();
    }
  });

  test("the token is in no log", async () => {
    await admin("/-/objects/box/log/storage?key=a", { json: 1 });
    await admin("/-/objects/box/log/state", { bearer: `${adminToken}-wrong` });
    expect(cluster.entries.some(({ event }) => event === "admin.call")).toBe(true);
    expect(Bun.inspect(cluster.entries, { depth: 20 })).not.toContain(adminToken);
  });
});

describe("what cannot be understood", () => {
  const nowhere = [
    ["/-/objects/box", "400 bad_object_id"],
    ["/-/objects/box/", "400 bad_object_id"],
    ["/-/objects/box/%ff/state", "400 bad_object_id"],
    [`/-/objects/box/${"x".repeat(257)}/state`, "400 bad_object_id"],
    ["/-/objects/Box/a/state", "404 unknown_class"],
    ["/-/objects/nobody/a/state", "404 unknown_class"],
    ["/-/objects/box/a", "404 not_found"],
    ["/-/objects/box/a/", "404 not_found"],
    ["/-/objects/box/a/constructor", "404 not_found"],
    ["/-/objects/box/a/state/", "404 not_found"],
    ["/-/objects/box/a/wake", "404 not_found"],
    ["/-/objects/box/a/storage?limit=0", "400 bad_request"],
    ["/-/objects/box/a/storage?limit=1e3", "400 bad_request"],
    ["/-/objects/box/a/storage?limit=10001", "400 bad_request"],
    ["/-/objects/box/a/storage?reverse=yes", "400 bad_request"],
    ["/-/objects/box/a/storage?key=", "400 bad_request"],
    ["/-/objects/box/a/storage?key=nothing", "404 not_found"],
    [`/-/objects/box/a/storage?key=${"x".repeat(2049)}`, "413 storage_limit"],
    ["/-/alarms?limit=0", "400 bad_request"],
    ["/-/alarms?limit=many", "400 bad_request"],
    ["/-/alarms?parked=perhaps", "400 bad_request"],
    ["/-/alarms/", "404 not_found"],
  ] as const;
  test.each(nowhere)("GET %s is %s", async (path, expected) => {
    expect(await codeOf(await admin(path))).toBe(expected);
  });

  const elsewise = [
    ["DELETE", "/-/objects/box/a/storage", "400 bad_request"],
    ["DELETE", "/-/objects/box/a/alarms", "400 bad_request"],
    ["DELETE", "/-/alarms", "404 not_found"],
    ["POST", "/-/objects/ticker/a/alarms/retry?name=none", "404 not_found"],
    ["POST", "/-/objects/box/a/alarms/retry?name=none", "404 not_found"],
    ["POST", "/-/objects/box/a/wake", "404 not_found"],
    ["PATCH", "/-/objects/box/a/storage?key=a", "404 not_found"],
  ] as const;
  test.each(elsewise)("%s %s is %s", async (method, path, expected) => {
    expect(await codeOf(await admin(path, { method }))).toBe(expected);
  });

  const bodies = [
    ["application/json", "{", "400 bad_request"],
    ["application/json", "", "400 bad_request"],
    ["application/json", new Uint8Array([0x22, 0xff, 0x22]), "400 bad_request"],
    ["application/msgpack", new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]), "400 bad_request"],
    ["application/msgpack", new Uint8Array([0xa5, 0x61]), "400 bad_request"],
    [
      "application/msgpack",
      new Uint8Array(Array.from({ length: 5000 }, () => [0xdd, 0xff, 0xff, 0xff, 0xff]).flat()),
      "400 bad_request",
    ],
    ["application/msgpack", new Uint8Array([1, 2]), "400 bad_request"],
    ["application/msgpack", "", "400 bad_request"],
    ["text/plain", "a", "400 bad_request"],
    ["application/json", JSON.stringify("x".repeat(3_000_000)), "413 storage_limit"],
  ] as const;
  test.each(bodies)("a body of %s, case %#, is refused and changes nothing", async (type, body, expected) => {
    const url = "/-/objects/box/bodies/storage?key=a";
    const put = await admin(url, { method: "PUT", headers: { "content-type": type }, body });
    expect(await codeOf(put)).toBe(expected);
    expect((await admin(url)).status).toBe(404);
  });
});

describe("values", () => {
  test("what is put is seen by the live object at once, and what it stores is seen here", async () => {
    expect(await ask("ams", "/box/live")).toMatchObject({ region: "ams" });
    for (const region of ["iad", "ams"]) {
      const put = await admin("/-/objects/box/live/storage?key=k", { region, json: { from: region } });
      expect([put.status, await put.text()]).toEqual([204, ""]);
      expect(await ask("ams", "/box/live/peek/k")).toEqual({ value: { from: region } });
    }
    await fetch(cluster.url("ams", "/box/live/value/k"), {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ value: "the object's" }),
    });
    expect(await (await admin("/-/objects/box/live/storage?key=k", asJson)).json()).toBe("the object's");
    expect(cluster.host("iad").parts.table.live("box/live")).toBeUndefined();
  });

  test("values travel as they are stored, and come back as they were", async () => {
    const value = {
      when: new Date(5),
      map: new Map([[1n, new Set(["x"])]]),
      bytes: new Uint8Array([1, 2, 3]),
    };
    const headers = { "content-type": "application/msgpack" };
    for (const region of ["iad", "ams"]) {
      const put = await admin("/-/objects/box/raw/storage?key=v", {
        region,
        method: "PUT",
        headers,
        body: new Uint8Array(packr.pack(value)),
      });
      expect(put.status).toBe(204);
      const got = await admin("/-/objects/box/raw/storage?key=v", { region });
      expect(got.headers.get("content-type")).toBe("application/msgpack");
      expect(packr.unpack(await got.bytes())).toEqual(value);
    }
  });

  test("a value beyond what travels with its head arrives whole, from either host", async () => {
    const json = "x".repeat(1_000_000);
    for (const region of ["iad", "ams"]) {
      expect((await admin(`/-/objects/box/large/storage?key=${region}`, { region, json })).status).toBe(204);
      const got = await admin(`/-/objects/box/large/storage?key=${region}`, { region, ...asJson });
      expect(await got.json()).toBe(json);
    }
  });

  test("what JSON has no word for is described", async () => {
    await fetch(cluster.url("iad", "/box/odd/odd"), { method: "POST" });
    const get = async (key: string) => (await admin(`/-/objects/box/odd/storage?key=${key}`, asJson)).json();
    expect(await get("cycle")).toEqual({ name: "loop", self: { Reference: "$" } });
    expect(await get("odd")).toEqual({
      map: { Map: [["a", 1]] },
      set: { Set: [{ BigInt: "1" }] },
      at: { Date: "1970-01-01T00:00:00.000Z" },
      nan: { Number: "NaN" },
      bytes: { Uint8Array: "AQI=" },
    });
    expect(await get("plain")).toEqual({ a: [1, "b", null] });
    expect(
      (await (await admin("/-/objects/box/odd/storage", asJson)).json()).map(([key]: [string]) => key),
    ).toEqual(["cycle", "odd", "plain"]);
  });

  test("lists are in order, cut where asked, and say so", async () => {
    for (const key of ["a1", "a2", "a3", "b1"])
      await admin(`/-/objects/box/list/storage?key=${key}`, { json: key });
    const list = async (query: string) => {
      const response = await admin(`/-/objects/box/list/storage?${query}`, asJson);
      const keys = (await response.json()).map(([key]: [string]) => key).join(" ");
      return `${keys}${response.headers.get("stateful-has-more") === "1" ? " …" : ""}`;
    };
    expect(await list("")).toBe("a1 a2 a3 b1");
    expect(await list("prefix=a")).toBe("a1 a2 a3");
    expect(await list("prefix=a&limit=2")).toBe("a1 a2 …");
    expect(await list("prefix=a&limit=3")).toBe("a1 a2 a3");
    expect(await list("start=a2&end=b1")).toBe("a2 a3");
    expect(await list("reverse=1&limit=1")).toBe("b1 …");
    const raw = packr.unpack(await (await admin("/-/objects/box/list/storage?prefix=b")).bytes());
    expect(raw).toEqual([["b1", "b1"]]);
  });

  test("a key is deleted once", async () => {
    const url = "/-/objects/box/delete/storage?key=a";
    await admin(url, { json: null });
    expect(await (await admin(url, asJson)).json()).toBeNull();
    expect(await (await admin(url, { method: "DELETE" })).json()).toEqual({ deleted: true });
    expect(await (await admin(url, { method: "DELETE" })).json()).toEqual({ deleted: false });
    expect(await ask("iad", "/box/delete/value/a")).toEqual({ value: null });
  });

  test("the state is what the object has in memory", async () => {
    await fetch(cluster.url("ams", "/box/state/see/ann"), { method: "POST" });
    expect(await (await admin("/-/objects/box/state/state", asJson)).json()).toEqual({
      seen: { Map: [["ann", 1]] },
      calls: 0,
    });
    expect(packr.unpack(await (await admin("/-/objects/box/state/state")).bytes())).toEqual({
      seen: new Map([["ann", 1]]),
      calls: 0,
    });
  });
});

test("ids are those of the object's own address, decoded once", async () => {
  for (const id of ["a b", "a/b", "ü%", "%41", "..a", "-"]) {
    const segment = encodeURIComponent(id);
    expect(
      (await admin(`/-/objects/box/${segment}/storage?key=id`, { json: id, region: "ams" })).status,
    ).toBe(204);
    expect(await ask("iad", `/box/${segment}/value/id`)).toEqual({ value: id });
  }
});

describe("a client reaches the author's class and nothing else", () => {
  const calls = ["wake", "state", "storage?key=a", "storage", "alarms", "alarms/retry?name=a"];

  test.each(calls)(
    "E12 /box/a/%s is a path of the class, on both hosts and with any header",
    async (call) => {
      await ask("ams", "/box/client");
      for (const region of ["iad", "ams"]) {
        for (const path of [
          `/box/client/${call}`,
          `/box/client/-/${call}`,
          `/box/client/-/objects/box/client/${call}`,
          `/box/client/%2d/${call}`,
        ]) {
          for (const method of ["GET", "POST", "PUT", "DELETE"]) {
            const headers = {
              authorization: `Bearer ${adminToken}`,
              "x-system": "1",
              "is-system": "true",
              "stateful-system": "1",
            };
            const response = await fetch(cluster.url(region, path), { method, headers });
            expect(response.status).toBe(404);
          }
        }
      }
    },
  );

  test("E12 an author may have routes of the same names", async () => {
    const named = object("named", {})
      .get("/state", () => "mine")
      .get("/storage", () => "mine too");
    const own = await startCluster({
      classes: [named],
      regions: ["iad", "ams"],
      config: { adminToken },
    });
    try {
      for (const region of ["iad", "ams"]) {
        expect(await (await fetch(own.url(region, "/named/a/state"))).text()).toBe("mine");
        expect(await (await fetch(own.url(region, "/named/a/storage?key=a"))).text()).toBe("mine too");
        const headers = { authorization: `Bearer ${adminToken}`, ...{ accept: "application/json" } };
        expect(await (await fetch(own.url(region, "/-/objects/named/a/state"), { headers })).json()).toEqual(
          {},
        );
      }
    } finally {
      await own.stop();
    }
  });
});

test("a call waits for its turn at a serial object, and its write is what the next handler reads", async () => {
  open = Promise.withResolvers();
  const first = fetch(cluster.url("iad", "/queue/a")).then((response) => response.text());
  const activation = await until("the first is inside", () =>
    cluster.host("iad").parts.table.live("queue/a"),
  );
  await until("it holds the gate", () => activation.openEvents === 1);
  const put = admin("/-/objects/queue/a/storage?key=n", { json: 7, region: "ams" });
  await until("the call waits", () => activation.openEvents === 2);
  const second = fetch(cluster.url("iad", "/queue/a")).then((response) => response.text());
  open.resolve();
  expect(await first).toBe("none");
  expect((await put).status).toBe(204);
  expect(await second).toBe("7");
});

test("a state that cannot be encoded is described in JSON, and refused otherwise with that advice", async () => {
  const checked = await startCluster({
    classes: [strange],
    regions: ["iad"],
    config: { adminToken, isDev: false },
  });
  try {
    const headers = { authorization: `Bearer ${adminToken}` };
    const url = checked.url("iad", "/-/objects/strange/a/state");
    const described = await fetch(url, { headers: { ...headers, accept: "application/json" } });
    expect(await described.json()).toEqual({ run: { Function: "run" }, big: { BigInt: "1" } });
    const refused = await fetch(url, { headers });
    expect(refused.status).toBe(400);
    expect((await refused.json()).detail).toContain("Accept: application/json");
  } finally {
    await checked.stop();
  }
});

describe("alarms", () => {
  test("of one object and of all, with what they carry; deleted by name", async () => {
    await fetch(cluster.url("ams", "/ticker/list/set/later/600000"), { method: "POST" });
    await fetch(cluster.url("ams", "/ticker/list/set/sooner/500000"), { method: "POST" });
    const { alarms } = await (await admin("/-/objects/ticker/list/alarms")).json();
    expect(alarms).toMatchObject([
      {
        name: "sooner",
        attempt: 0,
        recurs: null,
        isParked: false,
        lastError: null,
        payload: { Map: [["k", 1]] },
      },
      { name: "later" },
    ]);
    const all = await (await admin("/-/alarms?limit=1")).json();
    expect(all.alarms).toHaveLength(1);
    expect(all.alarms[0]).toMatchObject({ object: "ticker/list", name: "sooner", dueAt: alarms[0].dueAt });
    expect((await (await admin("/-/alarms?parked=1")).json()).alarms).toEqual([]);
    expect(
      await (await admin("/-/objects/ticker/list/alarms?name=sooner", { method: "DELETE" })).json(),
    ).toEqual({ deleted: true });
    expect(
      await (await admin("/-/objects/ticker/list/alarms?name=sooner", { method: "DELETE" })).json(),
    ).toEqual({ deleted: false });
    expect((await (await admin("/-/alarms")).json()).alarms).toMatchObject([{ name: "later" }]);
    expect(
      await (await admin("/-/objects/ticker/list/alarms/retry?name=later", { method: "POST" })).json(),
    ).toEqual({ retried: false });
  });

  test("wake starts an object and is answered with nothing", async () => {
    const response = await admin("/-/objects/ticker/asleep/wake", { method: "POST" });
    expect([response.status, await response.text()]).toEqual([204, ""]);
    const started = cluster.entries.filter(
      ({ event, fields }) => event === "object.started" && fields.object === "ticker/asleep",
    );
    expect(started).toHaveLength(1);
  });
});

test("E12 a call to an object of this host leaves neither the process nor a trace at other hosts", async () => {
  const alone = await startCluster({ classes: [ticker], regions: ["iad", "ams"] });
  try {
    const { parts } = alone.host("iad");
    await fetch(alone.url("iad", "/ticker/near"));
    parts.links.to = () => {
      throw new Error("A link was asked for.");
    };
    const ref = objectRef("ticker", "near");
    expect((await parts.dispatcher.system(ref, systemRequest(ref, "POST", "wake"))).status).toBe(204);
  } finally {
    await alone.stop();
  }
});

test("a host that is going away passes calls on to another, as it does with other events", async () => {
  const leaving = await startCluster({
    classes: [box],
    regions: ["iad", "ams"],
    config: { adminToken },
  });
  try {
    await fetch(leaving.url("iad", "/box/a"));
    await leaving.host("iad").stop();
    const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
    const put = () =>
      fetch(leaving.url("ams", "/-/objects/box/a/storage?key=k"), { method: "PUT", headers, body: "1" });
    await until("ams has taken it over", async () => (await put()).status === 204);
    expect(leaving.host("ams").parts.table.live("box/a")).toBeDefined();
  } finally {
    await leaving.stop();
  }
});
