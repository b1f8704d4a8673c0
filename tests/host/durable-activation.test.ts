import { describe, expect, test } from "bun:test";
import { t } from "elysia";
import { type Durability, type ObjectStorage, object } from "stateful-objects";
import { recordKey } from "../../infra/lease/stored-objects.ts";
import { decodeRecord, decodeValue } from "../../infra/storage/storage-codec.ts";
import { backlogLimits, transactionLimitMs } from "../../infra/storage/storage-limits.ts";
import { until } from "../support/wait.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, fetchFrom, ObjectHost, post } from "./object-host.ts";

const eight = Array.from({ length: 8 }, (_, index) => index);
const problemOf = async (response: Response) => ({ status: response.status, ...(await response.json()) });
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What the directory has of the object's state. */
function storedState(host: ObjectHost, key = "box/a"): unknown {
  const record = host.stores.rows.values.get(key)?.get(recordKey);
  return record && decodeRecord(record).state;
}

function storedValue(host: ObjectHost, name: string, key = "box/a"): unknown {
  const value = host.stores.rows.values.get(key)?.get(name);
  return value && decodeValue(value);
}

// -- the input gate: what authors write without thinking of others

/** Ways to add one, each with its awaits in other places. */
const additions: Readonly<Record<string, (storage: ObjectStorage) => Promise<unknown>>> = {
  async "get, then put"(storage) {
    const count = (await storage.get<number>("n")) ?? 0;
    await storage.put("n", count + 1);
  },
  async "through helpers that await before"(storage) {
    await Promise.resolve();
    await (async () => undefined)();
    const count = (await storage.get<number>("n")) ?? 0;
    await storage.put("n", count + 1);
  },
  async "through helpers that await between"(storage) {
    const read = async () => (await storage.get<number>("n")) ?? 0;
    const add = async () => {
      const count = await read();
      await Promise.resolve();
      return count + 1;
    };
    const next = await (async () => add())();
    await Promise.resolve();
    await storage.put("n", next);
  },
  async "getMany, then putMany"(storage) {
    const found = await storage.getMany<number>(["n", "other"]);
    await storage.putMany({ n: (found.get("n") ?? 0) + 1, other: 1 });
  },
  async "several reads, one after the other"(storage) {
    await storage.get("other");
    const listed = await storage.list<number>({ prefix: "n" });
    await storage.get("another");
    await storage.put("n", (listed.get("n") ?? 0) + 1);
  },
  async "several reads at once"(storage) {
    const [count = 0] = await Promise.all([storage.get<number>("n"), storage.get("other"), storage.list()]);
    await storage.put("n", count + 1);
  },
};

for (const [how, add] of Object.entries(additions)) {
  describe(`${how}: eight at once give eight`, () => {
    const box = object("box")
      .post("/", ({ storage }) => add(storage))
      .post("/parsed", ({ storage }) => add(storage), { body: t.Object({ by: t.Number() }) })
      .post("/later", async ({ storage, setTimeout }) => {
        await new Promise<void>((resolve) => setTimeout(resolve, 10));
        return add(storage);
      })
      .ws("/live", { message: (ws) => add(ws.data.storage).then(() => undefined) });
    const cached = object("box", { durability: "storage" }).post("/", ({ storage }) => add(storage));

    test("with requests to an object that has nothing in memory", async () => {
      const host = new ObjectHost(box);
      const activation = await host.live("box");
      await Promise.all(eight.map(() => fetchFrom(activation, "/", post)));
      expect(storedValue(host, "n")).toBe(8);
    });

    test("with requests to an object that has everything in memory", async () => {
      const host = new ObjectHost(cached);
      const activation = await host.live("box");
      await Promise.all(eight.map(() => fetchFrom(activation, "/", post)));
      expect(storedValue(host, "n")).toBe(8);
      expect(host.stores.reads).toBe(0);
    });

    test("with requests whose body has to be parsed first", async () => {
      const host = new ObjectHost(box);
      const activation = await host.live("box");
      const init = { method: "POST", body: '{"by":1}', headers: { "content-type": "application/json" } };
      const answers = await Promise.all(eight.map(() => fetchFrom(activation, "/parsed", { init })));
      expect(answers.map(({ status }) => status)).toEqual(eight.map(() => 200));
      expect(storedValue(host, "n")).toBe(8);
    });

    test("with handlers that were all inside before the first of them read", async () => {
      const host = new ObjectHost(box);
      const activation = await host.live("box");
      const answers = eight.map(() => fetchFrom(activation, "/later", post));
      await host.clock.advance(10);
      await Promise.all(answers);
      expect(storedValue(host, "n")).toBe(8);
    });

    test("with messages of one socket", async () => {
      const host = new ObjectHost(box);
      const { socket } = await connectTo(await host.live("box"));
      await Promise.all(eight.map(() => socket.received("go")));
      expect(storedValue(host, "n")).toBe(8);
    });

    test("with messages of eight sockets, and requests among them", async () => {
      const host = new ObjectHost(box);
      const activation = await host.live("box");
      const connections = await Promise.all(eight.map(() => connectTo(activation, new FakeCarrier())));
      await Promise.all([
        ...connections.map(({ socket }) => socket.received("go")),
        ...eight.map(() => fetchFrom(activation, "/", post)),
      ]);
      expect(storedValue(host, "n")).toBe(16);
    });
  });
}

test("a serial class may await anything between its read and its write", async () => {
  const host = new ObjectHost(
    object("box", { concurrency: "serial" }).post("/", async ({ storage }) => {
      const count = (await storage.get<number>("n")) ?? 0;
      await turn();
      await storage.put("n", count + 1);
    }),
  );
  const activation = await host.live("box");
  await Promise.all(eight.map(() => fetchFrom(activation, "/", post)));
  expect(storedValue(host, "n")).toBe(8);
});

test("timers that one event has set are events of their own", async () => {
  const host = new ObjectHost(
    object("box").post("/", ({ storage, setTimeout }) => {
      for (const _ of eight)
        setTimeout(async () => {
          await Promise.resolve();
          const count = (await storage.get<number>("n")) ?? 0;
          await storage.put("n", count + 1);
        }, 10);
    }),
  );
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  await host.clock.advance(10);
  await until("every timer has run", () => activation.openEvents === 0);
  await host.clock.advance(0);
  expect(storedValue(host, "n")).toBe(8);
});

test("a request whose body is still coming holds up nobody, and waits at the gate once it has come", async () => {
  const steps: string[] = [];
  const host = new ObjectHost(
    object("box")
      .post("/slow", ({ body }) => void steps.push(`slow ${body.n}`), { body: t.Object({ n: t.Number() }) })
      .get("/read/:key", async ({ storage, params }) => {
        steps.push(`reading ${params.key}`);
        await storage.get(params.key);
        steps.push(`read ${params.key}`);
      }),
  );
  const activation = await host.live("box");
  const upload = new TransformStream<Uint8Array, Uint8Array>();
  const writer = upload.writable.getWriter();
  const init = { method: "POST", body: upload.readable, headers: { "content-type": "application/json" } };
  const slow = fetchFrom(activation, "/slow", { init });
  await fetchFrom(activation, "/read/a");
  expect(steps).toEqual(["reading a", "read a"]);

  const held = Promise.withResolvers<void>();
  host.stores.readHeld = held.promise;
  const reading = fetchFrom(activation, "/read/b");
  await writer.write(new TextEncoder().encode('{"n":1}'));
  await writer.close();
  await host.clock.advance(0);
  expect(steps).toEqual(["reading a", "read a", "reading b"]);
  held.resolve();
  await Promise.all([reading, slow]);
  expect(steps).toEqual(["reading a", "read a", "reading b", "read b", "slow 1"]);
});

test("S2 while a read is open no other event enters, and those that wait enter in their order", async () => {
  const steps: string[] = [];
  const host = new ObjectHost(
    object("box")
      .get("/read", async ({ storage }) => {
        steps.push("reading");
        await storage.get("n");
        steps.push("read");
      })
      .get("/:name", ({ params }) => void steps.push(params.name)),
  );
  const activation = await host.live("box");
  const held = Promise.withResolvers<void>();
  host.stores.readHeld = held.promise;
  const answers = ["/read", "/a", "/b", "/c"].map((path) => fetchFrom(activation, path));
  await host.clock.advance(0);
  expect(steps).toEqual(["reading"]);
  held.resolve();
  await Promise.all(answers);
  expect(steps).toEqual(["reading", "read", "a", "b", "c"]);
});

test("a transaction that takes longer than 30 s is rolled back, and lets the next event in", async () => {
  const host = new ObjectHost(
    object("box", { state: () => ({ n: 0 }), durability: "storage" })
      .post("/stuck", ({ storage, state }) =>
        storage.transaction(async (tx) => {
          await tx.put("n", 1);
          state.n = 1;
          await new Promise(() => undefined);
        }),
      )
      .get("/", async ({ storage, state }) => ({ n: state.n, stored: await storage.get("n") })),
  );
  const activation = await host.live("box");
  const stuck = fetchFrom(activation, "/stuck", post);
  await host.clock.advance(0);
  const behind = fetchFrom(activation, "/");
  await host.clock.advance(transactionLimitMs - 1);
  expect(activation.openEvents).toBe(2);
  await host.clock.advance(1);
  expect(await problemOf(await stuck)).toMatchObject({ code: "handler_failed" });
  expect(await (await behind).json()).toEqual({ n: 0 });
  expect(host.stores.rows.values.get("box/a")?.has("n") ?? false).toBe(false);
});

test("S3 what a transaction leaves behind changes nothing, whichever handle it uses; its timers are events", async () => {
  const resumed = Promise.withResolvers<void>();
  const outcomes: string[] = [];
  const host = new ObjectHost(
    object("box")
      .post("/", ({ storage, setTimeout }) =>
        storage.transaction(async (tx) => {
          setTimeout(() => storage.put("timer", 1), 60_000);
          await tx.put("a", 1);
          await resumed.promise;
          for (const call of [
            () => storage.put("b", 1),
            () => tx.put("c", 1),
            () => storage.get("a"),
            () => storage.transaction((other) => other.put("d", 1)),
          ]) {
            const outcome = await call().then(
              () => "done",
              ({ code }) => code,
            );
            outcomes.push(outcome);
          }
        }),
      )
      .get("/", async ({ storage }) => [...(await storage.list()).keys()]),
  );
  const activation = await host.live("box");
  const stuck = fetchFrom(activation, "/", post);
  await host.clock.advance(transactionLimitMs);
  expect((await stuck).status).toBe(500);
  resumed.resolve();
  await until("the rest has run", () => outcomes.length === 4);
  expect(outcomes).toEqual(["bad_request", "bad_request", "bad_request", "bad_request"]);
  await host.clock.advance(60_000);
  expect(await (await fetchFrom(activation)).json()).toEqual(["timer"]);
  expect(host.log.errors).toHaveLength(0);
});

// -- when state is saved

const saves = object("box", {
  state: () => ({ n: 0 }),
  durability: "storage",
  onStart({ state }) {
    state.n += 100;
  },
  onStop({ state }) {
    state.n += 1_000;
  },
})
  .post("/", ({ state }) => ++state.n)
  .post("/timer", ({ state, setTimeout }) => void setTimeout(() => void state.n++, 500))
  .post("/later", ({ state, waitUntil }) => {
    waitUntil(
      (async () => {
        await turn();
        state.n += 10;
      })(),
    );
  })
  .post("/throws", ({ state }) => {
    state.n += 1;
    throw new Error("afterwards");
  })
  .ws("/live", {
    message({ data: { state } }) {
      state.n += 5;
    },
  });

describe("the state of a durable class is saved", () => {
  test("S7 at the end of onStart, of a handler, of a message, of a timer and of waitUntil, and by onStop", async () => {
    const host = new ObjectHost(saves);
    const activation = await host.live("box");
    await turn();
    expect(storedState(host)).toEqual({ n: 100 });
    expect(await (await fetchFrom(activation, "/", post)).text()).toBe("101");
    expect(storedState(host)).toEqual({ n: 101 });
    const { socket } = await connectTo(activation);
    await socket.received("go");
    await turn();
    expect(storedState(host)).toEqual({ n: 106 });
    await fetchFrom(activation, "/timer", post);
    await host.clock.advance(499);
    expect(storedState(host)).toEqual({ n: 106 });
    await host.clock.advance(1);
    expect(storedState(host)).toEqual({ n: 107 });
    await fetchFrom(activation, "/later", post);
    await host.clock.advance(0);
    expect(storedState(host)).toEqual({ n: 117 });
    await host.table.stop(activation, "idle");
    expect(storedState(host)).toEqual({ n: 1_117 });
    expect((await host.live("box")).lastState).toEqual({ n: 1_217 });
  });

  test("also where the handler failed: what it changed is the object's state", async () => {
    const host = new ObjectHost(saves);
    const response = await fetchFrom(await host.live("box"), "/throws", post);
    expect(response.status).toBe(500);
    expect(storedState(host)).toEqual({ n: 101 });
  });

  test("once for all that one turn changed, and not at all where nothing has", async () => {
    const host = new ObjectHost(saves);
    const activation = await host.live("box");
    await turn();
    const commits = host.stores.commits.length;
    await Promise.all(eight.map(() => fetchFrom(activation, "/", post)));
    expect(storedState(host)).toEqual({ n: 108 });
    expect(host.stores.commits.length - commits).toBeLessThanOrEqual(2);
    const after = host.stores.commits.length;
    const { socket } = await connectTo(activation, new FakeCarrier());
    await socket.closed(1000, "");
    expect(host.stores.commits.length).toBe(after);
  });
});

describe("a snapshot class", () => {
  const snapshots = object("box", { state: () => ({ n: 0 }), durability: "snapshot" })
    .post("/", ({ state }) => ++state.n)
    .get("/", ({ state }) => state.n);

  test("saves a change within 5 s, answers without waiting, and writes nothing while nothing changes", async () => {
    const host = new ObjectHost(snapshots);
    host.stores.held = new Promise(() => undefined);
    const activation = await host.live("box");
    for (let ms = 0; ms < 20_000; ms += 1_700) {
      const n = Number(await (await fetchFrom(activation, "/", post)).text()); // no answer waits for a commit
      await host.clock.advance(1_700);
      const { length } = host.stores.commits;
      expect(n).toBeGreaterThan(0);
      if (length > 0) break;
    }
    expect(storedState(host)).toBeDefined();

    const other = new ObjectHost(snapshots);
    const live = await other.live("box");
    await fetchFrom(live, "/", post);
    expect(storedState(other)).toBeUndefined();
    await other.clock.advance(5_000);
    expect(storedState(other)).toEqual({ n: 1 });
    const commits = other.stores.commits.length;
    for (let count = 0; count < 10; count += 1) {
      await fetchFrom(live, "/");
      await other.clock.advance(1_000);
    }
    expect(other.stores.commits.length).toBe(commits);
  });

  test.each([0, 300, 999, 1_000, 2_500, 2_999, 3_000, 3_500])(
    "at whatever time the change is made (%d ms)",
    async (atMs) => {
      const host = new ObjectHost(snapshots);
      const activation = await host.live("box");
      await host.clock.advance(atMs);
      await fetchFrom(activation, "/", post);
      await host.clock.advance(5_000);
      expect(storedState(host)).toEqual({ n: 1 });
    },
  );

  test("saves when it stops, and loses what came after its last snapshot when it crashes", async () => {
    const host = new ObjectHost(snapshots);
    const activation = await host.live("box");
    await fetchFrom(activation, "/", post);
    await host.table.stop(activation, "drain");
    expect(storedState(host)).toEqual({ n: 1 });
    const again = await host.live("box");
    await fetchFrom(again, "/", post);
    host.leases.session.end();
    host.table.suspendAll();
    host.leases.elsewhere.set("box/a", "another");
    host.leases.session = new FakeSession("session-2");
    await host.table.adoptAll();
    expect(storedState(host)).toEqual({ n: 1 });
  });
});

// -- state that cannot be saved

describe("state that cannot be saved", () => {
  const box = object("box", {
    state: (): { n: number; odd?: unknown } => ({ n: 0 }),
    durability: "storage",
    limits: { valueBytesMax: 1_000 },
  })
    .get("/", ({ state }) => state)
    .post("/", ({ state }) => ++state.n)
    .post("/odd/:kind", ({ state, params, topics }) => {
      state.n = 99;
      state.odd = oddities[params.kind as keyof typeof oddities]?.(); // the test's own
      topics.publish("t", "told");
      return "told";
    })
    .post("/after/:kind", async ({ state, params, topics }) => {
      state.n = 99;
      state.odd = oddities[params.kind as keyof typeof oddities]?.(); // the test's own
      topics.publish("t", "told");
      await turn();
      return "told";
    })
    .ws("/live", {
      open: (ws) => void ws.subscribe("t"),
      message(ws) {
        ws.data.state.n = 99;
        ws.data.state.odd = () => 1;
        ws.send("told");
      },
    });
  const oddities = {
    function: () => () => 1,
    symbol: () => Symbol("s"),
    promise: () => Promise.resolve(1),
    weak: () => new WeakMap(),
    large: () => "x".repeat(2_000),
    boxed: () => Object(1),
  };

  for (const kind of Object.keys(oddities)) {
    for (const path of ["odd", "after"]) {
      test(`S7 (${kind}, ${path}): the caller gets an error, nobody is told, and what was saved goes on`, async () => {
        const host = new ObjectHost(box);
        const activation = await host.live("box");
        const { carrier } = await connectTo(activation);
        await fetchFrom(activation, "/", post);
        expect(storedState(host)).toEqual({ n: 1 });
        const response = await fetchFrom(activation, `/${path}/${kind}`, post);
        expect(response.ok).toBe(false);
        expect(await response.text()).not.toContain("told");
        await host.clock.advance(0);
        expect(carrier.edge).toMatchObject({ frames: [] });
        expect(storedState(host)).toEqual({ n: 1 });
        const now = await host.live("box");
        expect(await (await fetchFrom(now)).json()).toEqual({ n: 1 });
        expect(await (await fetchFrom(now, "/", post)).text()).toBe("2");
        expect(storedState(host)).toEqual({ n: 2 });
      });
    }
  }

  test("of a message's handler: its socket hears nothing but its end", async () => {
    const host = new ObjectHost(box);
    const activation = await host.live("box");
    const { socket, carrier } = await connectTo(activation);
    await fetchFrom(activation, "/", post);
    await socket.received("go");
    await host.clock.advance(0);
    expect(carrier.sent).toEqual([]);
    expect(await (await fetchFrom(await host.live("box"))).json()).toEqual({ n: 1 });
    expect(storedState(host)).toEqual({ n: 1 });
  });
});

// -- limits

test("an answer whose write takes too long is of unknown outcome; the write may still land", async () => {
  const host = new ObjectHost(saves);
  const activation = await host.live("box");
  await host.clock.advance(0);
  const held = Promise.withResolvers<void>();
  host.stores.held = held.promise;
  const answer = fetchFrom(activation, "/", post);
  await host.clock.advance(31_000);
  expect(await problemOf(await answer)).toMatchObject({ code: "outcome_unknown" });
  held.resolve();
  host.stores.held = undefined;
  expect(await (await fetchFrom(activation, "/", post)).text()).toBe("102");
});

test("past its backlog an object takes no new event, and goes on once its writes got through", async () => {
  const size = 1_000_000;
  const host = new ObjectHost(
    object("box").post("/", ({ storage, query }) => storage.put(`k${query.n}`, new Uint8Array(size))),
  );
  const activation = await host.live("box");
  const held = Promise.withResolvers<void>();
  host.stores.held = held.promise;
  const count = Math.ceil(backlogLimits.bytesMax / size);
  const waiting = [];
  for (let index = 0; index <= count; index += 1) {
    waiting.push(fetchFrom(activation, `/?n=${index}`, post));
    await host.clock.advance(0);
  }
  const refused = await fetchFrom(activation, "/?n=x", post);
  expect(await problemOf(refused)).toMatchObject({ status: 503, code: "storage_backlog", retryable: true });
  const { socket, carrier } = await connectTo(activation).catch(() => ({
    socket: undefined,
    carrier: undefined,
  }));
  expect([socket, carrier]).toEqual([undefined, undefined]);
  host.stores.held = undefined;
  held.resolve();
  const statuses = (await Promise.all(waiting)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(count);
  expect((await fetchFrom(activation, "/?n=y", post)).status).toBe(200);
});

// -- stopping

describe("a stop", () => {
  test("waits for what is not saved yet, and gives the lease back only then", async () => {
    const host = new ObjectHost(saves);
    const activation = await host.live("box");
    await host.clock.advance(0);
    const held = Promise.withResolvers<void>();
    host.stores.held = held.promise;
    void fetchFrom(activation, "/", post);
    await host.clock.advance(0);
    const stop = host.table.stop(activation, "idle");
    await host.clock.advance(14_000);
    expect(host.leases.released).toEqual([]);
    host.stores.held = undefined;
    held.resolve();
    await stop;
    expect(host.leases.released).toHaveLength(1);
    expect(storedState(host)).toEqual({ n: 1_101 });
  });

  test("that cannot save in time ends the object, and those who wait for an answer are told", async () => {
    const host = new ObjectHost(saves);
    const activation = await host.live("box");
    await host.clock.advance(0);
    host.stores.held = new Promise(() => undefined);
    const answer = fetchFrom(activation, "/", post);
    await host.clock.advance(0);
    const stop = host.table.stop(activation, "idle");
    await host.clock.advance(20_000);
    await stop;
    expect(await problemOf(await answer)).toMatchObject({ code: "outcome_unknown" });
    expect(host.log.errors).toMatchObject([{ code: "outcome_unknown" }]);
    expect(host.table.size).toBe(0);
  });

  test("waits for a transaction that is open", async () => {
    const ending = Promise.withResolvers<void>();
    const host = new ObjectHost(
      object("box", { durability: "storage" }).post("/", ({ storage, waitUntil }) => {
        waitUntil(
          storage.transaction(async (tx) => {
            await tx.put("n", 1);
            await ending.promise;
          }),
        );
      }),
    );
    const activation = await host.live("box");
    void fetchFrom(activation, "/", post);
    await host.clock.advance(0);
    const stop = host.table.stop(activation, "drain", 5_000);
    await host.clock.advance(4_000);
    ending.resolve();
    await stop;
    expect(storedValue(host, "n")).toBe(1);
  });

  test("overtaken by the end of the session is finished under the next, with everything saved", async () => {
    const host = new ObjectHost(saves);
    const activation = await host.live("box");
    await host.clock.advance(0);
    const held = Promise.withResolvers<void>();
    host.stores.held = held.promise;
    void fetchFrom(activation, "/", post);
    await host.clock.advance(0);
    const stop = host.table.stop(activation, "idle");
    await host.clock.advance(0);
    host.leases.session.end();
    host.table.suspendAll();
    host.stores.rows.values.clear(); // the commit in flight never landed
    host.stores.held = undefined;
    held.resolve();
    await host.clock.advance(0);
    host.leases.session = new FakeSession("session-2");
    host.stores.session = "session-2";
    await host.table.adoptAll();
    await stop;
    expect(storedState(host)).toEqual({ n: 1_101 });
    expect(activation.phase.name).toBe("over");
    expect(host.leases.released.at(-1)).toMatchObject({ epoch: activation.epoch });
    expect((await host.live("box")).lastState).toEqual({ n: 1_201 });
  });
});

test("a reload in dev keeps what is durable, and what is not is carried over", async () => {
  const release = (version: string) => [
    object("box", { durability: "storage", state: () => ({ n: 0, version }) })
      .post("/", async ({ state, storage }) => {
        await storage.put("k", ++state.n);
        return state;
      })
      .get("/", async ({ state, storage }) => ({ ...state, k: await storage.get("k"), code: version })),
    object("memo", { state: () => ({ n: 0 }) })
      .post("/", async ({ state, storage }) => {
        await storage.put("k", ++state.n);
        return state;
      })
      .get("/", async ({ state, storage }) => ({ ...state, k: await storage.get("k"), code: version })),
  ];
  const host = new ObjectHost(...release("1"));
  for (const name of ["box", "memo"]) await fetchFrom(await host.live(name), "/", post);
  for (const objectClass of release("2")) host.install(objectClass);
  for (const name of ["box", "memo"]) await host.table.reload(name);
  expect(await (await fetchFrom(await host.live("box"))).json()).toEqual({
    n: 1,
    version: "1",
    k: 1,
    code: "2",
  });
  expect(await (await fetchFrom(await host.live("memo"))).json()).toEqual({ n: 1, k: 1, code: "2" });
});

// -- starting

test.each(["memory", "snapshot", "storage"] as const)(
  "an object with stored keys wakes, one without is created (%s)",
  (durability) => expectWake(durability),
);

async function expectWake(durability: Durability): Promise<void> {
  const reasons: string[] = [];
  const host = new ObjectHost(
    object("box", { durability, onStart: ({ reason }) => void reasons.push(reason) }).post(
      "/",
      ({ storage }) => storage.put("n", 1),
    ),
  );
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  await host.table.stop(activation, "idle");
  await host.live("box");
  expect(reasons).toEqual(["create", "wake"]);
}

test("a field that a new release added has its default, beside what is stored", async () => {
  const host = new ObjectHost(
    object("box", { durability: "storage", state: () => ({ a: 1 }) }).post("/", ({ state }) => ++state.a),
  );
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  await host.table.stop(activation, "idle");
  host.install(object("box", { durability: "storage", state: () => ({ a: 1, b: 5 }) }));
  expect((await host.live("box")).lastState).toEqual({ a: 2, b: 5 });
});

test("S1 transactions without a pause between them do not hold the answers of those that are done", async () => {
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  let begun = 0;
  const host = new ObjectHost(
    object("busy", { durability: "storage", state: () => ({ n: 0 }) }).post(
      "/",
      async ({ storage, state }) => {
        for (let turns = 0; turns < 200; turns += 1) await turn(); // so that all have entered before the first begins
        return storage.transaction(async (tx) => {
          begun += 1;
          const n = ((await tx.get<number>("n")) ?? 0) + 1;
          await tx.put("n", n);
          await turn();
          state.n = n;
          return n;
        });
      },
    ),
  );
  const activation = await host.live("busy");
  const answered: number[] = [];
  const open: Promise<unknown>[] = [];
  let leftAtTheFirst = 0;
  for (let asked = 0; asked < 60; asked += 1) {
    const answer = fetchFrom(activation, "/", post).then((response) => response.text());
    open.push(
      answer.then((n) => {
        answered.push(Number(n));
        if (answered.length === 1) leftAtTheFirst = 60 - begun;
      }),
    );
  }
  await Promise.all(open);
  expect(answered).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
  expect(leftAtTheFirst).toBeGreaterThan(40);
});

test("a host with too much to write takes no events of objects that store, and of the others all", async () => {
  const kept = object("kept", { durability: "storage" }).get("/", () => "here");
  const host = new ObjectHost(
    kept,
    object("cache").get("/", () => "here"),
  );
  const [stores, caches] = [await host.live("kept"), await host.live("cache")];
  host.stores.waiting.bytes = 65 * 1024 * 1024;
  expect(await (await fetchFrom(stores)).json()).toMatchObject({ code: "storage_backlog", retryable: true });
  expect((await fetchFrom(caches)).status).toBe(200);
  host.stores.waiting.bytes = 0;
  expect((await fetchFrom(stores)).status).toBe(200);
});

test("S5 S7 a state that cannot be saved ends the object: who waits for another write is told that its fate is not known", async () => {
  const box = object("box", {
    durability: "storage",
    state: () => ({ text: "" }),
    limits: { valueBytesMax: 1_000 },
  })
    .post("/", async ({ storage }) => {
      await storage.put("a", 1);
      return "saved";
    })
    .ws("/live", {
      message(ws) {
        ws.data.state.text = "x".repeat(2_000);
      },
    });
  const host = new ObjectHost(box);
  const activation = await host.live("box");
  const { socket } = await connectTo(activation);
  const held = Promise.withResolvers<void>();
  host.stores.held = held.promise;
  const saving = fetchFrom(activation, "/", post);
  await turn();
  await socket.received("go");
  expect(await problemOf(await saving)).toMatchObject({ status: 502, code: "outcome_unknown" });
  expect(storedValue(host, "a")).toBe(1);
  held.resolve();
});
