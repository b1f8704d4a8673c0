import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { object } from "stateful-objects";
import { MovesIn } from "../../infra/host/moves-in.ts";
import { processOfSession } from "../../infra/lease/session-id.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { adminToken } from "../support/admin-token.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RequestLoad } from "../support/request-load.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const counters = (["memory", "snapshot", "storage"] as const).map((durability) =>
  object(durability, { state: () => ({ n: 0 }), durability })
    .get("/", ({ state, host }) => ({ n: state.n, at: host.region }))
    .post("/", ({ state }) => ({ n: ++state.n })),
);

const notes = object("notes", { state: () => ({ starts: 0 }), onStart: ({ state }) => void state.starts++ })
  .get("/", async ({ state, storage }) => ({
    starts: state.starts,
    all: Object.fromEntries(await storage.list()),
  }))
  .put("/:key/:value", async ({ storage, params }) => void (await storage.put(params.key, params.value)));

const heard: string[] = [];
const traveller = object("traveller", {
  state: () => ({ luggage: new Map([["bag", 1]]) }),
  onMoveOut({ host }) {
    heard.push(`out of ${host.region}`);
    return { ticket: new Set([host.region]) };
  },
  onMoveIn({ carried, host }) {
    const { ticket } = carried as { ticket: Set<string> }; // as onMoveOut returned it
    heard.push(`into ${host.region} with ${[...ticket]}`);
  },
  onStart({ reason, state }) {
    heard.push(`start: ${reason}, ${state.luggage.get("bag")}`);
  },
}).get("/", () => "here");

const stubborn = object("stubborn", {
  onMoveOut() {
    throw new Error("not today");
  },
}).get("/", ({ host }) => host.region);

const ticker = object("ticker", {
  state: (): { fired: string[] } => ({ fired: [] }),
  durability: "storage",
  onAlarm({ name, state, host }) {
    state.fired.push(`${name} at ${host.region}`);
  },
})
  .get("/", ({ state }) => state.fired)
  .post("/:ms", ({ alarms, params }) => void alarms.set("ring", { afterMs: Number(params.ms) }));

let gate = Promise.withResolvers<void>();
let entered = Promise.withResolvers<void>();
const slow = object("slow", { state: () => ({ n: 0 }), durability: "storage", moveQuiesceMs: 100 })
  .get("/", ({ state, host }) => ({ n: state.n, at: host.region }))
  .post("/", async ({ state }) => {
    entered.resolve();
    await gate.promise;
    return { n: ++state.n };
  })
  .post("/transaction", async ({ storage }) => {
    await storage.transaction(async (keys) => {
      entered.resolve();
      await gate.promise;
      await keys.put("a", 1);
    });
    return "done";
  });
const patient = object("patient", { state: () => ({ n: 0 }), durability: "storage" })
  .get("/", async ({ storage, host }) => ({ a: (await storage.get("a")) ?? null, at: host.region }))
  .post("/transaction", async ({ storage }) => {
    await storage.transaction(async (keys) => {
      entered.resolve();
      await gate.promise;
      await keys.put("a", 1);
    });
    return "done";
  });

const talk = object("talk")
  .get("/", ({ host }) => host.region)
  .post("/", async () => {
    entered.resolve();
    await gate.promise;
  })
  .ws("/live", { message: (ws, text) => void ws.send(`${ws.data.host.region}: ${text}`) });

const inIad = object("in-iad", { placement: { regions: ["iad"] } }).get("/", () => "here");

const classes = [...counters, notes, traveller, stubborn, ticker, slow, patient, talk, inIad];

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes, directory: "sqld", config: { adminToken } });
});
afterAll(() => cluster?.stop());

interface MoveAnswer {
  readonly status: number;
  readonly code?: string;
  readonly detail?: string;
  readonly from?: { readonly hostId: string; readonly region: string };
  readonly to?: { readonly hostId: string; readonly region: string };
  readonly epoch?: number;
  readonly pauseMs?: number;
}

async function move(key: string, wish: object, via = "ams", on = cluster): Promise<MoveAnswer> {
  const answer = await fetch(on.url(via, `/-/objects/${key}/move`), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
    body: JSON.stringify(wish),
  });
  return { status: answer.status, ...(await answer.json()) };
}

async function ask(region: string, path: string, method = "GET") {
  const answer = await fetch(cluster.url(region, path), { method });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path} at ${region}: ${answer.status} ${text}`);
  return text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text;
}

/** All regions are equally near in one process: it starts anywhere, and is moved to where the test wants it. */
async function startAt(region: string, key: string, on = cluster): Promise<void> {
  expect(await move(key, { region }, region, on)).toMatchObject({ status: 200, to: { region } });
}

const livesAt = (key: string) =>
  cluster.hosts.filter(({ parts }) => parts.table.live(key)).map(({ region }) => region);

describe("L7 an object is moved by hand", () => {
  test.each(["memory", "snapshot", "storage"])(
    "with durability %s it keeps its state, and answers from where it is",
    async (className) => {
      const key = `${className}/a`;
      await startAt("iad", key);
      for (let n = 0; n < 3; n++) await ask("iad", `/${key}`, "POST");
      const answer = await move(key, { region: "nrt" });
      expect(answer).toMatchObject({ status: 200, from: { region: "iad" }, to: { region: "nrt" } });
      expect(answer.pauseMs).toBeLessThan(2000);
      for (const region of ["iad", "ams", "nrt"])
        expect(await ask(region, `/${key}`)).toEqual({ n: 3, at: "nrt" });
      expect(livesAt(key)).toEqual(["nrt"]);
      expect(await ask("iad", `/${key}`, "POST")).toEqual({ n: 4 });
    },
  );

  test("to a host by its id, and on to others, and back", async () => {
    await ask("iad", "/memory/round", "POST");
    for (const region of ["ams", "nrt", "iad", "nrt", "iad"]) {
      const answer = await move("memory/round", { host: cluster.host(region).hostId }, "iad");
      expect(answer).toMatchObject({ status: 200, to: { region } });
      expect(await ask("ams", "/memory/round")).toEqual({ n: 1, at: region });
    }
  });

  test("where it is already nothing happens, and one that lives nowhere is started first", async () => {
    await startAt("ams", "memory/new");
    await until("it has started there", () => livesAt("memory/new").includes("ams"));
    const { epoch } = await ask("iad", "/-/explain/memory/new").then(({ owner }) => owner);
    const there = { hostId: cluster.host("ams").hostId, region: "ams" };
    for (const wish of [{ region: "ams" }, { host: there.hostId }])
      expect(await move("memory/new", wish, "nrt")).toEqual({
        ...{ status: 200, pauseMs: 0, from: there, to: there, epoch },
      });
  });

  test("under load from everywhere no call fails, and none is counted twice", async () => {
    const urls = ["iad", "ams", "nrt"].map((region) => cluster.url(region, "/storage/load"));
    const load = RequestLoad.start([...urls, ...urls], { method: "POST" });
    try {
      for (const region of ["nrt", "ams", "iad", "nrt", "iad", "ams"]) {
        await load.goesOn(20);
        expect(await move("storage/load", { region }, "iad")).toMatchObject({ status: 200 });
      }
      await load.goesOn(20);
    } finally {
      await load.stop();
    }
    expect(load.failures).toEqual([]);
    expect((await ask("iad", "/storage/load")).n).toBe(load.answered);
  }, 30_000);

  test("what it has stored is there, and its code has started anew", async () => {
    for (const [key, value] of [
      ["a", "1"],
      ["b", "2"],
    ])
      await ask("iad", `/notes/x/${key}/${value}`, "PUT");
    expect((await move("notes/x", { region: "nrt" })).status).toBe(200);
    expect(await ask("iad", "/notes/x")).toEqual({ starts: 2, all: { a: "1", b: "2" } });
    await ask("ams", "/notes/x/c/3", "PUT");
    expect((await move("notes/x", { region: "ams" })).status).toBe(200);
    expect(await ask("iad", "/notes/x")).toEqual({ starts: 3, all: { a: "1", b: "2", c: "3" } });
  });

  test("its hooks carry what state does not", async () => {
    await startAt("iad", "traveller/x");
    await ask("iad", "/traveller/x");
    heard.splice(0);
    await move("traveller/x", { region: "nrt" });
    await ask("iad", "/traveller/x");
    expect(heard).toEqual(["out of iad", "into nrt with iad", "start: move, 1"]);
  });

  test("an alarm fires at the new owner, once", async () => {
    await startAt("iad", "ticker/x");
    await ask("iad", "/ticker/x/700", "POST");
    await move("ticker/x", { region: "nrt" });
    await until("it fires", async () => (await ask("ams", "/ticker/x")).length > 0);
    expect(await ask("iad", "/ticker/x")).toEqual(["ring at nrt"]);
  });

  test("an event that is open is waited for, and one that comes meanwhile is served by the target", async () => {
    [gate, entered] = [Promise.withResolvers(), Promise.withResolvers()];
    await startAt("iad", "patient/x");
    const open = ask("iad", "/patient/x/transaction", "POST");
    await entered.promise;
    const moving = move("patient/x", { region: "nrt" });
    await until("it moves", () => cluster.host("iad").parts.table.isChanging("patient/x"));
    const late = ask("ams", "/patient/x");
    gate.resolve();
    expect(await open).toBe("done");
    expect(await moving).toMatchObject({ status: 200, to: { region: "nrt" } });
    expect(await late).toEqual({ a: 1, at: "nrt" });
  });

  test.each(["", "/transaction"])(
    "a handler that does not end in time (%s) calls the move off",
    async (path) => {
      [gate, entered] = [Promise.withResolvers(), Promise.withResolvers()];
      const id = `slow${path.length}`;
      await startAt("iad", `slow/${id}`);
      const open = ask("iad", `/slow/${id}${path}`, "POST");
      await entered.promise;
      const answer = await move(`slow/${id}`, { region: "nrt" });
      expect(answer).toMatchObject({ status: 409, code: "move_failed" });
      expect(answer.detail).toContain("moveQuiesceMs");
      const later = ask("ams", `/slow/${id}`);
      gate.resolve();
      await open;
      expect((await later).at).toBe("iad");
      expect(await move(`slow/${id}`, { region: "nrt" })).toMatchObject({ status: 200 });
    },
  );

  test("its target links to the edges that hold its sockets while it still lives at its source", async () => {
    [gate, entered] = [Promise.withResolvers(), Promise.withResolvers()];
    const fresh = await cluster.add("syd", { hostId: "fresh" });
    const edge = processOfSession(cluster.host("ams").parts.leases.session.id);
    await until("all know it", () => cluster.host("iad").parts.leases.hosts.length === 4);
    await startAt("iad", "talk/x");
    const client = await SocketClient.open(cluster.socketUrl("ams", "/talk/x/live"));
    try {
      const open = ask("iad", "/talk/x", "POST");
      await entered.promise;
      expect(fresh.parts.links.peek(edge)).toBeUndefined();
      const moving = move("talk/x", { region: "syd" }, "iad");
      await until("they are linked", () => fresh.parts.links.peek(edge) !== undefined);
      expect(cluster.host("iad").parts.table.isChanging("talk/x")).toBe(true);
      gate.resolve();
      await open;
      expect(await moving).toMatchObject({ status: 200, to: { region: "syd" } });
      client.send("hello");
      expect(await client.hears(1)).toEqual(["syd: hello"]);
    } finally {
      client.close();
      await fresh.stop();
    }
  });

  test("onMoveOut that throws calls it off, with the reason", async () => {
    const at = await ask("iad", "/stubborn/x");
    const answer = await move("stubborn/x", { region: at === "nrt" ? "iad" : "nrt" });
    expect(answer).toMatchObject({ status: 409, code: "move_failed" });
    expect(await ask("nrt", "/stubborn/x")).toBe(at);
  });

  test("of two moves at once one is refused, and the object is whole", async () => {
    await startAt("iad", "memory/two");
    await ask("iad", "/memory/two", "POST");
    const answers = await Promise.all([
      move("memory/two", { region: "nrt" }, "iad"),
      move("memory/two", { region: "ams" }, "nrt"),
    ]);
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners.length).toBeGreaterThan(0);
    for (const { status, code } of answers) if (status !== 200) expect(code).toBe("move_failed");
    const { n, at } = await ask("iad", "/memory/two");
    expect([n, livesAt("memory/two")]).toEqual([1, [at]]);
  });
});

describe("a move that cannot be", () => {
  test("says which hosts there are and why none takes it", async () => {
    await ask("iad", "/in-iad/x");
    const answer = await move("in-iad/x", { region: "nrt" });
    expect(answer).toMatchObject({ status: 503, code: "no_eligible_host" });
    expect(answer.detail).toContain("The class may live in iad only");
    const nowhere = await move("in-iad/x", { region: "syd" });
    expect(nowhere.detail).toBe('No host in the region "syd" is alive.');
    expect(JSON.stringify([answer, nowhere])).not.toContain(cluster.host("nrt").parts.leases.session.id);
  });

  test("asks for one place, as JSON", async () => {
    const wishes = [
      {},
      { region: "nrt", host: "x" },
      { region: 7 },
      { region: "" },
      { host: null },
      [],
      "nrt",
      null,
    ];
    for (const wish of wishes) expect(await move("memory/x", wish as object)).toMatchObject({ status: 400 }); // what no wish is
    expect(await move("nothing/x", { region: "nrt" })).toMatchObject({ status: 404, code: "unknown_class" });
  });

  test("is nobody's business without the token", async () => {
    const answer = await fetch(cluster.url("iad", "/-/objects/memory/a/move"), { method: "POST" });
    expect(answer.status).toBe(401);
  });

  test("a target that refuses leaves the object where it is", async () => {
    const full = await cluster.add("syd", { objectsMax: 1, hostId: "full" });
    await until("all know it", () => cluster.host("iad").parts.leases.hosts.length === 4);
    try {
      await startAt("syd", "memory/there");
      await startAt("iad", "memory/here");
      await ask("iad", "/memory/here", "POST");
      const answer = await move("memory/here", { region: "syd" });
      expect(answer).toMatchObject({ status: 503, code: "host_full" });
      expect(await ask("nrt", "/memory/here")).toEqual({ n: 1, at: "iad" });
    } finally {
      await full.stop();
    }
  });
});

describe("a host is lost in the middle of a move", () => {
  test("L7 the target, before it has all: the object lives on at its source", async () => {
    const doomed = await cluster.add("syd", { hostId: "doomed" });
    await until("all know it", () =>
      cluster.host("iad").parts.leases.hosts.some(({ hostId }) => hostId === "doomed"),
    );
    await startAt("iad", "memory/kept");
    await ask("iad", "/memory/kept", "POST");
    const { arrivals } = doomed.parts.table;
    const offered = spyOn(arrivals, "offered").mockImplementation((offer) => {
      const arrival = MovesIn.prototype.offered.call(arrivals, offer);
      const deliver = () => void doomed.parts.links.close();
      return { ...parts(arrival), deliver };
    });
    const answer = await move("memory/kept", { region: "syd" });
    offered.mockRestore();
    await doomed.stop();
    expect(answer).toMatchObject({ status: 409, code: "move_failed" });
    expect(await ask("nrt", "/memory/kept")).toEqual({ n: 1, at: "iad" });
  });

  test("L7 the source, once the lease names the target: the target asks the primary, and goes on", async () => {
    const doomed = await cluster.add("syd", { hostId: "source" });
    await until("all know it", () =>
      cluster.host("ams").parts.leases.hosts.some(({ hostId }) => hostId === "source"),
    );
    await startAt("syd", "memory/saved");
    await ask("syd", "/memory/saved", "POST"); // answered once it is there
    expect(livesAt("memory/saved")).toEqual(["syd"]);
    const { leases } = doomed.parts;
    const moveLease = leases.move.bind(leases);
    const lost = spyOn(leases, "move").mockImplementation(async (...args) => {
      const outcome = await moveLease(...args);
      await doomed.parts.links.close();
      return outcome;
    });
    await doomed.parts.moves
      .move(objectRef("memory", "saved"), { kind: "operator", wish: { region: "nrt" } })
      .catch(() => undefined);
    lost.mockRestore();
    await until("the target has found out", () => livesAt("memory/saved").includes("nrt"));
    expect(await ask("ams", "/memory/saved")).toEqual({ n: 1, at: "nrt" });
    await doomed.stop();
  });
});

/** The methods of an arrival, which are on its class. */
function parts(arrival: ReturnType<MovesIn["offered"]>) {
  return {
    reserve: arrival.reserve.bind(arrival),
    go: arrival.go.bind(arrival),
    cancelled: arrival.cancelled.bind(arrival),
    undecided: arrival.undecided.bind(arrival),
  };
}

describe("explain", () => {
  test("E25 P16 tells from any edge how the object is at its owner, and starts nothing", async () => {
    await startAt("ams", "memory/told");
    for (let n = 0; n < 5; n++) await ask("nrt", "/memory/told", "POST");
    await startAt("iad", "memory/told");
    for (let n = 0; n < 3; n++) await ask("nrt", "/memory/told");
    for (const region of ["nrt", "iad"]) {
      const told = await ask(region, "/-/explain/memory/told");
      expect(told).toMatchObject({
        owner: { region: "iad", reason: "move", movedFor: "operator", why: "It was moved here by hand." },
        isAsleep: false,
        keptAwakeBy: { openEvents: 0, timers: 0 },
        sockets: { open: 0, edges: 0 },
        traffic: { shares: [{ region: "nrt", share: 1 }] },
        follow: { moves: false, verdict: "few_events" },
        policy: { follow: true },
      });
      expect(told.traffic.events).toBeGreaterThan(7);
    }
    const nowhere = await ask("iad", "/-/explain/memory/nowhere");
    expect(nowhere.owner).toBeNull();
    expect(nowhere.traffic).toBeUndefined();
    expect(livesAt("memory/nowhere")).toEqual([]);
  });
});

describe("L11 a host that drains", () => {
  test("300 objects under load: every one is somewhere else, no request fails, and nothing is counted twice", async () => {
    const here = await startCluster({
      classes,
      regions: ["iad", "ams", "nrt"],
      directory: "sqld",
      config: { adminToken },
    });
    const classNames = ["memory", "snapshot", "storage"];
    const keys = Array.from({ length: 300 }, (_, n) => `${classNames[n % 3]}/drained-${n}`);
    const at = (region: string, key: string) => here.url(region, `/${key}`);
    const load = new RequestLoad();
    try {
      await Promise.all(keys.map((key) => fetch(at("iad", key), { method: "POST" })));
      await Promise.all(keys.map((key) => startAt("iad", key, here)));
      await until("all are there", () => here.host("iad").parts.table.size === 300);
      const regions = ["ams", "nrt"];
      for (let n = 0; n < 24; n++) {
        const urls = keys
          .filter((_, index) => index % 24 === n)
          .map((key) => at(regions[n % 2] ?? "ams", key));
        load.add(urls, { method: "POST" });
      }
      await load.goesOn(300);
      const drained = here.host("iad").drain();
      await until("health says so", async () => {
        const health = await fetch(at("iad", "-/health"));
        expect(health.headers.get("connection")).toBe("close");
        return health.status === 503 && (await health.json()).status === "draining";
      });
      await drained;
      await load.goesOn(300);
      await load.stop();
      expect(load.failures).toEqual([]);
      const sums = await Promise.all(keys.map(async (key) => (await (await fetch(at("ams", key))).json()).n));
      expect(sums.reduce((sum, n) => sum + n, 0)).toBe(300 + load.answered);
      const report = here.entries.find(({ event }) => event === "host.drained");
      expect(report?.fields).toMatchObject({ moved: 300, saved: 0, lostMemory: 0, failed: 0 });
    } finally {
      await load.stop();
      await here.stop();
    }
  }, 60_000);

  test("alone it stops and saves what it has, and says what is lost", async () => {
    const alone = await startCluster({ classes, regions: ["iad"], config: { adminToken } });
    for (const key of ["memory/a", "storage/a", "snapshot/a"])
      await fetch(alone.url("iad", `/${key}`), { method: "POST" });
    const startedMs = performance.now();
    await alone.host("iad").drain();
    expect(performance.now() - startedMs).toBeLessThan(3000);
    const report = alone.entries.find(({ event }) => event === "host.drained");
    expect(report?.fields).toMatchObject({ moved: 0, saved: 2, lostMemory: 1, failed: 0 });
    const again = await alone.add("iad");
    const told = await fetch(`http://localhost:${again.port}/snapshot/a`);
    expect(await told.json()).toEqual({ n: 1, at: "iad" });
    await alone.stop();
  });
});
