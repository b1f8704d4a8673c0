import { afterEach, describe, expect, test } from "bun:test";
import { t } from "elysia";
import { object, StatefulError } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import { OutputGate, type OutputGateSetup, outputLimits } from "../../infra/host/output-gate.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { until } from "../support/wait.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import type { TopicMessage } from "../../infra/topics/topic-message.ts";

// -- the gate by itself: changes are numbers, and a test says which of them are durable

class Line {
  changedUpTo = 0;
  durableUpTo = 0;
  issued = 0;
  appliedUpTo = 0;
  inTransaction = false;
  mayRelease = true;
  saves = 0;
  save: () => void = () => undefined;
  readonly left: string[] = [];
  readonly failures: unknown[] = [];
  readonly gate: OutputGate;

  constructor(savesState = false) {
    const setup: OutputGateSetup = {
      changes: this,
      savesState,
      save: () => {
        this.saves += 1;
        this.save();
      },
      mayRelease: () => this.mayRelease,
      failed: (thrown) => this.failures.push(thrown),
    };
    this.gate = new OutputGate(setup);
    lines.push(this);
  }

  say(what: string, bytes = 0): void {
    this.gate.pass(() => this.left.push(what), bytes);
  }

  answer(what: string): void {
    const waiting = this.gate.answer(this.issued);
    const leave = () => this.left.push(what);
    if (waiting === undefined) leave();
    else waiting.then(leave, ({ code }) => this.left.push(`${what}: ${code}`));
  }

  durable(upTo: number): void {
    this.durableUpTo = upTo;
    this.gate.flush();
  }

  /** What has left since it was last asked. */
  async take(): Promise<string[]> {
    await turn();
    return this.left.splice(0);
  }
}

const lines: Line[] = [];
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const error = (code: "fenced" | "outcome_unknown") => new StatefulError(code, code);

afterEach(async () => {
  for (const line of lines.splice(0)) {
    expect([line.gate.length, await line.take(), line.failures]).toEqual([0, [], []]);
  }
});

test("without open changes everything passes at once, in the same turn", () => {
  const line = new Line();
  line.say("effect");
  line.answer("answer");
  expect(line.left.splice(0)).toEqual(["effect", "answer"]);
});

test("an effect waits for the changes before it, and for none after it", async () => {
  const line = new Line();
  line.say("before");
  line.changedUpTo = 1;
  line.say("after 1");
  line.answer("answer after 1");
  line.changedUpTo = 3;
  line.say("after 3");
  expect(await line.take()).toEqual(["before"]);
  line.durable(1);
  expect(await line.take()).toEqual(["after 1", "answer after 1"]);
  line.durable(2);
  expect(await line.take()).toEqual([]);
  line.durable(3);
  expect(await line.take()).toEqual(["after 3"]);
});

test("what passes while others wait stands behind them", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.say("first");
  line.durableUpTo = 1; // durable, though nobody has been told yet
  line.say("second");
  line.answer("third");
  expect(line.left).toEqual([]);
  line.gate.flush();
  expect(await line.take()).toEqual(["first", "second", "third"]);
});

test("what an effect does in turn stands behind what waits already", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.gate.pass(() => {
    line.left.push("first");
    line.say("in turn");
  }, 0);
  line.say("second");
  line.durable(1);
  expect(await line.take()).toEqual(["first", "second", "in turn"]);
});

test("changes under way hold back what is said, whichever number they will have", async () => {
  const line = new Line();
  line.issued = 1;
  line.say("inside");
  line.answer("answer");
  line.changedUpTo = 1;
  line.gate.flush();
  expect(await line.take()).toEqual([]);
  line.appliedUpTo = 1;
  line.gate.flush();
  expect(await line.take()).toEqual([]);
  line.durable(1);
  expect(await line.take()).toEqual(["inside", "answer"]);
});

test("S1 what is said waits for the storage calls before it, not for those that come after", async () => {
  const line = new Line();
  line.issued = 1;
  line.answer("first");
  line.issued = 2;
  line.answer("second");
  line.changedUpTo = 1;
  line.appliedUpTo = 1;
  line.durable(1);
  expect(await line.take()).toEqual(["first"]);
  line.changedUpTo = 2;
  line.appliedUpTo = 2;
  line.durable(2);
  expect(await line.take()).toEqual(["second"]);
});

test("S3 a state that a transaction may be changing is not saved for what was said before", async () => {
  const line = new Line(true);
  line.issued = 1;
  line.say("before");
  line.appliedUpTo = 1;
  line.issued = 2;
  line.inTransaction = true;
  line.gate.flush();
  expect([await line.take(), line.saves]).toEqual([[], 0]);
  line.inTransaction = false;
  line.gate.flush();
  expect([await line.take(), line.saves]).toEqual([["before"], 1]);
});

test("where the state is saved, one save serves all effects of a turn, and they wait for it", async () => {
  const line = new Line(true);
  let isChanged = false;
  line.save = () => {
    if (isChanged) line.changedUpTo += 1;
    isChanged = false;
  };
  for (const what of ["a", "b", "c"]) line.say(what);
  isChanged = true; // in the same turn, after what was said
  expect(line.left).toEqual([]);
  expect(await line.take()).toEqual([]);
  expect(line.saves).toBe(1);
  line.durable(1);
  expect(await line.take()).toEqual(["a", "b", "c"]);
  line.say("nothing has changed");
  expect(await line.take()).toEqual(["nothing has changed"]);
});

test("a state that cannot be saved fails the answer that tells of it", () => {
  const line = new Line(true);
  line.save = () => {
    throw new Error("not cloneable");
  };
  expect(() => line.gate.answer(line.issued)).toThrow("not cloneable");
});

test("a state that cannot be saved, with effects in the line: they never leave", async () => {
  const line = new Line(true);
  line.say("effect");
  line.save = () => {
    throw new Error("not cloneable");
  };
  await turn();
  expect(line.failures.splice(0)).toMatchObject([{ message: "not cloneable" }]);
  line.gate.close(error("fenced"));
});

test("an effect that throws fails the line, and what follows stays", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.gate.pass(() => {
    throw new Error("no such edge");
  }, 0);
  line.say("after");
  line.durable(1);
  expect(line.failures.splice(0)).toMatchObject([{ message: "no such edge" }]);
  expect(await line.take()).toEqual([]);
  line.gate.close(error("fenced"));
});

test("while the lease is not valid nothing leaves, also in the middle of a flush", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.gate.pass(() => {
    line.left.push("first");
    line.mayRelease = false;
  }, 0);
  line.say("second");
  line.durable(1);
  expect(await line.take()).toEqual(["first"]);
  line.mayRelease = true;
  line.gate.flush();
  expect(await line.take()).toEqual(["second"]);
});

test("suspended: answers are refused, the rest stays in its order and leaves once", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.say("one");
  line.answer("answer");
  line.say("two");
  line.mayRelease = false;
  line.gate.suspend(error("outcome_unknown"));
  expect(await line.take()).toEqual(["answer: outcome_unknown"]);
  line.durable(1);
  expect(await line.take()).toEqual([]);
  line.mayRelease = true;
  line.gate.flush();
  line.gate.flush();
  expect(await line.take()).toEqual(["one", "two"]);
});

test("closed: nothing that waited leaves, and every answer gets the cause", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.say("one");
  line.answer("answer");
  line.gate.close(error("fenced"));
  line.durable(1);
  expect(await line.take()).toEqual(["answer: fenced"]);
});

test("answers that have waited too long are refused; the others, and the order, stay", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.say("one");
  line.answer("old");
  const { entered } = line.gate;
  line.answer("new");
  line.say("two");
  line.gate.expire(entered, error("outcome_unknown"));
  expect(await line.take()).toEqual(["old: outcome_unknown"]);
  line.gate.expire(entered, error("outcome_unknown"));
  line.durable(1);
  expect(await line.take()).toEqual(["one", "two", "new"]);
});

test("the effects that wait are limited, in number and in bytes, and leaving makes room", async () => {
  const line = new Line();
  line.changedUpTo = 1;
  line.say("large", outputLimits.bytesMax - 10);
  expect(() => line.say("more", 11)).toThrow(expect.objectContaining({ code: "storage_backlog" }));
  line.say("fits", 10);
  for (let index = 2; index < outputLimits.effectsMax; index += 1) line.say("small");
  expect(() => line.say("more")).toThrow(expect.objectContaining({ code: "storage_backlog" }));
  line.durable(1);
  expect((await line.take()).slice(0, 2)).toEqual(["large", "fits"]);
  line.changedUpTo = 2;
  line.say("again", outputLimits.bytesMax);
  line.durable(2);
  expect(await line.take()).toEqual(["again"]);
});

test("thousands of effects leave in their order, however many at a time", async () => {
  const line = new Line();
  const expected: string[] = [];
  for (let change = 1; change <= 50; change += 1) {
    line.changedUpTo = change;
    for (let index = 0; index < 97; index += 1) {
      expected.push(`${change}.${index}`);
      line.say(`${change}.${index}`);
    }
  }
  for (let change = 0; change <= 50; change += 7) line.durable(change);
  line.durable(50);
  expect(await line.take()).toEqual(expected);
});

// -- an activation: every commit is held, and let go by the test, one at a time

/** All that leaves one host, of every kind, in order. */
class Scene {
  readonly trace: string[] = [];
  readonly host: ObjectHost;
  #commit = Promise.withResolvers<void>();

  constructor(...classes: ConstructorParameters<typeof ObjectHost>) {
    this.host = new ObjectHost(...classes);
    this.host.stores.held = this.#commit.promise;
    this.host.call = async (request) => {
      this.trace.push(`call ${new URL(request.url).pathname}`);
      return new Response("called");
    };
    scenes.push(this);
  }

  /** Lets the commits that have happened be answered; those after them are held again. */
  async release(): Promise<void> {
    const { resolve } = this.#commit;
    this.#commit = Promise.withResolvers();
    this.host.stores.held = this.#commit.promise;
    resolve();
    await this.host.clock.advance(0);
  }

  async connect(activation: Activation): Promise<Awaited<ReturnType<typeof connectTo>>> {
    return connectTo(activation, new TracedCarrier(this.trace));
  }

  /** Notes when the response leaves. */
  fetch(activation: Activation, path: string, options = {}): Promise<Response> {
    const answer = fetchFrom(activation, path, options);
    void answer.then(async (response) => {
      const body = response.headers.get("content-type")?.includes("problem")
        ? (await response.clone().json()).code
        : response.status;
      this.trace.push(`response ${path} ${body}`);
    });
    return answer;
  }

  async take(): Promise<string[]> {
    await this.host.clock.advance(0);
    return this.trace.splice(0);
  }
}

const scenes: Scene[] = [];
afterEach(async () => {
  for (const scene of scenes.splice(0)) {
    await scene.release();
    await scene.release();
    expect(await scene.take()).toEqual([]);
    for (const activation of scene.host.table.all()) expect(activation.output?.length ?? 0).toBe(0);
  }
});

class TracedEdge extends FakeEdge {
  readonly #trace: string[];
  constructor(trace: string[]) {
    super();
    this.#trace = trace;
  }
  override publish(objectKey: string, message: TopicMessage, except: number): boolean {
    this.#trace.push(`publish ${message.topic} ${message.data}`);
    return super.publish(objectKey, message, except);
  }
}

class TracedCarrier extends FakeCarrier {
  readonly #trace: string[];
  constructor(trace: string[]) {
    super(new TracedEdge(trace));
    this.#trace = trace;
  }
  override send(message: SocketData): number {
    this.#trace.push(`send ${message}`);
    return super.send(message);
  }
  override subscribe(topic: string): void {
    this.#trace.push(`subscribe ${topic}`);
    super.subscribe(topic);
  }
  override unsubscribe(topic: string): void {
    this.#trace.push(`unsubscribe ${topic}`);
    super.unsubscribe(topic);
  }
  override close(code: number, reason: string): void {
    this.#trace.push(`close ${code}`);
    super.close(code, reason);
  }
}

const other = object("other").get("/", () => "other");

/** Changes are made in `storage` by one class, and in its state by the other. */
const desks = {
  storage: () => desk("memory", async (context, n) => context.storage.put("n", n)),
  state: () =>
    desk("storage", (context, n) => {
      context.state.n = n;
    }),
};

/** What the streams of a desk wait for after their first chunk. */
let resumed = Promise.withResolvers<void>();
afterEach(() => {
  resumed.resolve();
  resumed = Promise.withResolvers();
});

type Context = {
  readonly state: { n: number };
  readonly storage: { put(key: string, n: number): Promise<void> };
};

function desk(
  durability: "memory" | "storage",
  change: (context: Context, n: number) => void | Promise<void>,
) {
  return object("desk", { state: () => ({ n: 0 }), durability })
    .get("/", () => "read")
    .post("/write", async (context) => {
      await change(context, Number(context.query.n ?? 1));
      return "written";
    })
    .post("/say", ({ topics }) => {
      topics.publish("t", "said");
      return "ok";
    })
    .get("/stream", async function* (context) {
      yield "one";
      await resumed.promise;
      await change(context, 7);
      yield "two";
      yield "three";
    })
    .ws("/live", {
      body: t.String(),
      async message(ws, text) {
        const { topics, objects } = ws.data;
        for (const word of text.split(" ")) {
          if (word.startsWith("n=")) await change(ws.data, Number(word.slice(2)));
          else if (word === "sub") ws.subscribe("t");
          else if (word === "unsub") ws.unsubscribe("t");
          else if (word === "pub") topics.publish("t", "news");
          else if (word === "call") void objects(other, "x").get();
          else if (word === "close") ws.close(4000);
          else ws.send(word);
        }
      },
    });
}

for (const [where, makeDesk] of Object.entries(desks)) {
  describe(`changes of ${where}`, () => {
    test("S1 every kind of effect waits for the change before it, and they leave in one line", async () => {
      const scene = new Scene(makeDesk(), other);
      const activation = await scene.host.live("desk");
      const { socket } = await scene.connect(activation);
      await socket.received("before");
      expect(await scene.take()).toEqual(["send before"]);
      void socket.received("n=1 one sub pub two unsub three close");
      void scene.fetch(activation, "/");
      expect(await scene.take()).toEqual([]);
      await scene.release();
      expect(await scene.take()).toEqual([
        "send one",
        "subscribe t",
        "publish t news",
        "send two",
        "unsubscribe t",
        "send three",
        "close 4000",
        "response / 200",
      ]);
    });

    test("a call to another object waits as well", async () => {
      const scene = new Scene(makeDesk(), other);
      const activation = await scene.host.live("desk");
      const { socket } = await scene.connect(activation);
      void socket.received("n=1 one call");
      expect(await scene.take()).toEqual([]);
      await scene.release();
      expect(await scene.take()).toEqual(["send one", "call /other/x"]);
    });

    test("an effect waits for the changes of every event, and each commit lets go what it covers", async () => {
      const scene = new Scene(makeDesk());
      const activation = await scene.host.live("desk");
      const { socket } = await scene.connect(activation);
      void scene.fetch(activation, "/write?n=1", post);
      await scene.host.clock.advance(0); // its commit has left
      void socket.received("hello");
      void scene.fetch(activation, "/write?n=2", post);
      expect(await scene.take()).toEqual([]);
      void socket.received("again");
      await scene.release();
      expect((await scene.take()).toSorted()).toEqual(["response /write?n=1 200", "send hello"]);
      await scene.release();
      expect((await scene.take()).toSorted()).toEqual(["response /write?n=2 200", "send again"]);
    });

    test("a read of a clean object does not wait, a read of a changed one does", async () => {
      const scene = new Scene(makeDesk());
      const activation = await scene.host.live("desk");
      await scene.fetch(activation, "/");
      expect(await scene.take()).toEqual(["response / 200"]);
      void scene.fetch(activation, "/write", post);
      expect(await scene.take()).toEqual([]);
      void scene.fetch(activation, "/");
      expect(await scene.take()).toEqual([]);
      await scene.release();
      expect((await scene.take()).toSorted()).toEqual(["response / 200", "response /write 200"]);
      await scene.fetch(activation, "/");
      expect(await scene.take()).toEqual(["response / 200"]);
    });

    test("a stream's chunks wait for what was changed before them", async () => {
      const scene = new Scene(makeDesk());
      const activation = await scene.host.live("desk");
      const response = await fetchFrom(activation, "/stream");
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      expect(await reader?.read()).toEqual({ done: false, value: "one" });
      let second: string | undefined;
      void reader?.read().then(({ value }) => {
        second = value;
      });
      resumed.resolve();
      await scene.host.clock.advance(0);
      expect(second).toBeUndefined();
      await scene.release();
      await until("the second chunk", () => second !== undefined);
      expect(second).toBe("two");
      expect(await reader?.read()).toEqual({ done: false, value: "three" });
      expect(await reader?.read()).toMatchObject({ done: true });
    });

    test("S4 a refused write sends nothing of what followed: callers get the error, sockets are closed", async () => {
      const scene = new Scene(makeDesk(), other);
      const activation = await scene.host.live("desk");
      const { socket } = await scene.connect(activation);
      const stream = await fetchFrom(activation, "/stream");
      const reader = stream.body?.getReader();
      await reader?.read();
      scene.host.stores.fenced.add("desk/a");
      const chunk = reader?.read().then(
        () => "a chunk",
        ({ code }) => code,
      );
      resumed.resolve();
      void scene.fetch(activation, "/write", post);
      await scene.host.clock.advance(0);
      void scene.fetch(activation, "/");
      void socket.received("n=5 one sub pub call");
      void scene.fetch(activation, "/say", post);
      expect(await scene.take()).toEqual([]);
      await scene.release();
      expect((await scene.take()).toSorted()).toEqual([
        "close 1012",
        "response / fenced",
        "response /say fenced",
        "response /write fenced",
      ]);
      expect(await chunk).toBe("fenced");
      expect(scene.host.table.size).toBe(0);
      expect(scene.host.leases.released).toHaveLength(1);
      expect(scene.host.stores.rows.values.get("desk/a")).toBeUndefined();
      const again = await scene.host.live("desk");
      expect(again).not.toBe(activation);
    });

    test("S5 a session that ends: answers are unknown, the rest is sent after the adoption, in order, once", async () => {
      const scene = new Scene(makeDesk());
      const { host } = scene;
      const activation = await host.live("desk");
      const { socket } = await scene.connect(activation);
      void socket.received("n=1 one sub pub");
      void scene.fetch(activation, "/write?n=2", post);
      expect(await scene.take()).toEqual([]);
      host.leases.session.end();
      host.table.suspendAll();
      expect(await scene.take()).toEqual(["response /write?n=2 outcome_unknown"]);
      await scene.release(); // the lost commit is answered after all, to nobody
      expect(await scene.take()).toEqual([]);
      host.leases.session = new FakeSession("session-2");
      host.stores.session = "session-2";
      await host.table.adoptAll();
      expect(await scene.take()).toEqual([]);
      await scene.release();
      expect(await scene.take()).toEqual(["send one", "subscribe t", "publish t news"]);
      expect(activation.isLive).toBe(true);
      const last = host.stores.commits.at(-1);
      expect(last?.epoch).toBe(activation.epoch);
    });

    test("a session that ends and an object that somebody else took: nothing is ever sent", async () => {
      const scene = new Scene(makeDesk());
      const { host } = scene;
      const activation = await host.live("desk");
      const { socket } = await scene.connect(activation);
      void socket.received("n=1 one sub pub");
      await host.clock.advance(0);
      host.leases.session.end();
      host.table.suspendAll();
      host.leases.elsewhere.set("desk/a", "another");
      host.leases.session = new FakeSession("session-2");
      host.stores.session = "session-2";
      await host.table.adoptAll();
      await scene.release();
      expect([await scene.take(), activation.isOver]).toEqual([[], true]);
    });
  });
}

test("effects inside a transaction wait for its end, and are not taken back with it", async () => {
  const entered = Promise.withResolvers<void>();
  const ending = Promise.withResolvers<void>();
  const scene = new Scene(
    object("desk", { state: () => ({ n: 0 }) })
      .get("/", () => "read")
      .post("/run", ({ storage, topics, query }) =>
        storage.transaction(async (tx) => {
          await tx.put("n", 1);
          topics.publish("t", "inside");
          entered.resolve();
          await ending.promise;
          if (query.fails) throw new StatefulError("forbidden", "undo");
          return "done";
        }),
      )
      .ws("/live", { open: (ws) => void ws.subscribe("t") }),
  );
  const activation = await scene.host.live("desk");
  await scene.connect(activation);
  expect(await scene.take()).toEqual(["subscribe t"]);
  void scene.fetch(activation, "/run?fails=1", post);
  await entered.promise;
  expect(await scene.take()).toEqual([]);
  expect(scene.host.stores.commits).toEqual([]);
  ending.resolve();
  expect((await scene.take()).toSorted()).toEqual(["publish t inside", "response /run?fails=1 forbidden"]);
  void scene.fetch(activation, "/run", post);
  expect(await scene.take()).toEqual([]); // one commit, held
  expect(scene.host.stores.commits).toHaveLength(1);
  await scene.release();
  expect((await scene.take()).toSorted()).toEqual(["publish t inside", "response /run 200"]);
});

test("a call to another object inside a transaction would wait for its own end, and is refused at once", async () => {
  let refused: unknown;
  const scene = new Scene(
    object("desk", {}).post("/run", ({ storage, objects }) =>
      storage.transaction(async (tx) => {
        await tx.put("n", 1);
        const { error: failure } = await objects(other, "x").get();
        refused = failure?.value;
        return "done";
      }),
    ),
    other,
  );
  void scene.fetch(await scene.host.live("desk"), "/run", post);
  expect(await scene.take()).toEqual([]);
  expect(refused).toMatchObject({ code: "bad_request" });
  await scene.release();
  expect(await scene.take()).toEqual(["response /run 200"]);
});

test("past its backlog a socket's handler fails, and nothing of it is lost silently", async () => {
  const scene = new Scene(
    object("desk", {}).ws("/live", {
      body: t.String(),
      async message(ws) {
        await ws.data.storage.put("n", 1);
        for (let index = 0; index <= outputLimits.effectsMax; index += 1) ws.send("x");
      },
    }),
  );
  const { socket } = await scene.connect(await scene.host.live("desk"));
  await socket.received("go");
  expect(await scene.take()).toEqual(["close 1013"]);
  await scene.release();
  expect(await scene.take()).toHaveLength(outputLimits.effectsMax);
});
