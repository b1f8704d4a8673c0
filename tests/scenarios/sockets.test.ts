import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";
import { type Closing, SocketClient, type SocketClientOptions } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { clientFrame } from "../support/websocket-frames.ts";

/** What the handlers of an object have seen, by its id: they share a process with the test. */
class Witness {
  readonly closings: Closing[] = [];
  readonly log: string[] = [];
  readonly go = Promise.withResolvers<void>();
}
const witnesses = new Map<string, Witness>();
function witness(id: string): Witness {
  const known = witnesses.get(id) ?? new Witness();
  witnesses.set(id, known);
  return known;
}

const inIad = { placement: { regions: ["iad"] } };
const mebibyte = 1024 * 1024;
const secretText = "the text of an error that no client may read";

const talk = object("talk", { ...inIad, limits: { messageBytesMax: 3 * mebibyte } })
  .get("/count/:topic", ({ topics, sockets, params }) => ({
    subscribers: topics.subscriberCount(decodeURIComponent(params.topic)),
    sockets: sockets.count,
  }))
  .post("/publish/:topic", ({ topics, params, request }) =>
    request.text().then((text) => topics.publish(decodeURIComponent(params.topic), text)),
  )
  .post("/close-all", ({ sockets }) => sockets.closeAll(4005, "all of you"))
  .ws("/echo", {
    message: (ws, message) => void ws.send(message),
    close: (ws, code, reason) => void witness(ws.data.objectId).closings.push([code, reason]),
  })
  .ws("/commands", {
    open: (ws) => ws.subscribe("all"),
    async message(ws, message) {
      const [verb, argument = ""] = String(message).split(":", 2);
      if (verb === "close") ws.close(4001, argument);
      else if (verb === "terminate") ws.terminate();
      else if (verb === "subscribe") ws.subscribe(argument);
      else if (verb === "unsubscribe") ws.unsubscribe(argument);
      else if (verb === "publish") ws.publish("all", argument);
      else if (verb === "throw") throw new Error(secretText);
      else if (verb === "flood") for (let n = 0; n < 24; n++) ws.send(new Uint8Array(mebibyte));
      else if (verb === "fill") {
        for (let n = 0; n < 3; n++) ws.send(new Uint8Array(mebibyte));
        // To the last bytes: what the socket is then closed with does not fit either.
        while (ws.readyState === 1) ws.send("x".repeat(16));
      } else ws.send(`?${verb}`);
    },
    close: (ws, code, reason) => void witness(ws.data.objectId).closings.push([code, reason]),
  })
  .ws("/hello", {
    async open(ws) {
      ws.send("first");
      ws.subscribe("hello");
      await witness(ws.data.objectId).go.promise;
      ws.send("last");
    },
  })
  .ws("/hooks", {
    beforeHandle: ({ headers, cookie, set, query }) => {
      set.headers["x-answer"] = "42";
      const asked = headers["sec-websocket-protocol"] ?? "";
      if (asked.includes("chat.v2")) set.headers["sec-websocket-protocol"] = "chat.v2";
      cookie.session?.set({ value: "new", httpOnly: true });
      set.headers["x-seen"] = JSON.stringify([headers["x-client"], query, headers.cookie, asked]);
    },
    open: (ws) => void ws.send(ws.data.request.url),
  })
  .ws("/slow-hooks", {
    beforeHandle: async ({ objectId }) => {
      witness(objectId).log.push("asked");
      await witness(objectId).go.promise;
    },
    open: (ws) => void witness(ws.data.objectId).log.push("opened"),
    close: (ws) => void witness(ws.data.objectId).log.push("closed"),
  });

const queue = object("queue", { ...inIad, concurrency: "serial" }).ws("/", {
  async message(ws, message) {
    const { log, go } = witness(ws.data.objectId);
    log.push(`begin ${message}`);
    if (message === 1) await go.promise;
    await Promise.resolve();
    log.push(`end ${message}`);
    ws.send(message);
  },
});

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [talk, queue],
    regions: ["iad", "ams"],
    config: { leaseTtlMs: 15_000 }, // a handler that fills a link holds up the loop that all share
  });
});
let tests = 0;
/** What holds up the loop for long, as floods do on a slow machine, has hosts refuse new objects for a while. */
beforeEach(async () => {
  const path = `/talk/fresh${tests++}/count/all`;
  await until("new objects start", async () => (await fetch(cluster.url("iad", path))).ok, 60_000);
}, 60_000);
afterAll(async () => {
  for (const { go } of witnesses.values()) go.resolve();
  await cluster.stop();
});

const ways = [
  ["local", "iad"],
  ["remote", "ams"],
] as const;

function connect(region: string, path: string, options?: SocketClientOptions): Promise<SocketClient> {
  return SocketClient.open(cluster.socketUrl(region, path), options);
}

async function counts(id: string, topic = "all"): Promise<{ subscribers: number; sockets: number }> {
  return (await fetch(cluster.url("iad", `/talk/${id}/count/${encodeURIComponent(topic)}`))).json();
}

function gone(id: string): Promise<unknown> {
  return until(`no socket is left of ${id}`, async () => (await counts(id)).sockets === 0);
}

describe.each([...ways])("%s", (way, region) => {
  test("text and bytes come back as they were sent", async () => {
    const client = await connect(region, `/talk/echo-${way}/echo`);
    const messages = [
      "text",
      "",
      "\uFEFFmark",
      "héllo 🦄",
      new Uint8Array([0, 255, 1]),
      new Uint8Array(0),
      "x".repeat(100_000),
    ];
    for (const message of messages) client.send(message);
    expect(await client.hears(messages.length)).toEqual(messages);
    client.close();
    await gone(`echo-${way}`);
  });

  test("1,000 messages, text and bytes mixed, keep their order", async () => {
    const client = await connect(region, `/talk/order-${way}/echo`);
    const messages = Array.from({ length: 1_000 }, (_, n) =>
      n % 3 === 0 ? new Uint8Array([n & 255, n >> 8]) : `m${n}`,
    );
    for (const message of messages) client.send(message);
    expect(await client.hears(1_000)).toEqual(messages);
    client.close();
  });

  test("a message as large as the class allows arrives, a larger one closes with 1009", async () => {
    const client = await connect(region, `/talk/large-${way}/echo`);
    client.send(new Uint8Array(3 * mebibyte));
    expect((await client.hears(1))[0]).toHaveLength(3 * mebibyte);
    client.send(new Uint8Array(3 * mebibyte + 1));
    expect((await client.closed())[0]).toBe(1009);
    await gone(`large-${way}`);
    expect(client.heard).toHaveLength(1);
  });

  test("the limit of a message counts the bytes of text, as it does those of bytes", async () => {
    const client = await connect(region, `/talk/wide-${way}/echo`);
    client.send("€".repeat(mebibyte)); // three bytes each: 3 MiB to the byte
    expect((await client.hears(1))[0]).toHaveLength(mebibyte);
    client.send("€".repeat(mebibyte + 1));
    expect((await client.closed())[0]).toBe(1009);
    await gone(`wide-${way}`);
  });

  test("a client's close reaches the handler with its code and reason", async () => {
    const client = await connect(region, `/talk/bye-${way}/echo`);
    client.close(4000, "bye");
    await until("the handler hears", () => witness(`bye-${way}`).closings.length > 0);
    expect(witness(`bye-${way}`).closings).toEqual([[4000, "bye"]]);
    expect(await client.closed()).toEqual([4000, "bye"]);
    await gone(`bye-${way}`);
  });

  test("a handler's close reaches the client, and the handler hears of it once", async () => {
    const client = await connect(region, `/talk/closing-${way}/commands`);
    client.send("close:that is all");
    expect(await client.closed()).toEqual([4001, "that is all"]);
    await gone(`closing-${way}`);
    expect(witness(`closing-${way}`).closings).toEqual([[4001, "that is all"]]);
  });

  test("sockets.closeAll closes every client, and terminate leaves no close frame", async () => {
    const id = `all-${way}`;
    const clients = [
      await connect(region, `/talk/${id}/commands`),
      await connect("ams", `/talk/${id}/commands`),
    ];
    const cut = await connect(region, `/talk/${id}/commands`);
    cut.send("terminate");
    expect((await cut.closed())[0]).toBe(1006);
    await fetch(cluster.url("iad", `/talk/${id}/close-all`), { method: "POST" });
    for (const client of clients) expect(await client.closed()).toEqual([4005, "all of you"]);
    await gone(id);
  });

  test("a client that vanishes without a close is 1006 at the handler", async () => {
    const client = await RawClient.connect(cluster.host(region).port);
    client.upgrade(`/talk/vanish-${way}/commands`);
    await until("it is upgraded", () => client.received.includes(" 101 "));
    await until("it is open", async () => (await counts(`vanish-${way}`)).subscribers === 1);
    client.close();
    await gone(`vanish-${way}`);
    expect(witness(`vanish-${way}`).closings.map(([code]) => code)).toEqual([1006]);
    expect((await counts(`vanish-${way}`)).subscribers).toBe(0);
  });

  test("a handler that throws closes 1011 with the id that the log has, and nothing else", async () => {
    const client = await connect(region, `/talk/throw-${way}/commands`);
    client.send("throw");
    const [code, reason] = await client.closed();
    expect(code).toBe(1011);
    expect(reason).not.toContain(secretText);
    const entry = cluster.entries.findLast(({ event }) => event === "handler.failed");
    expect(String(entry?.fields.error)).toContain(secretText);
    expect(reason).toContain(String(entry?.fields.errorId));
    const other = await connect(region, `/talk/throw-${way}/commands`);
    other.send("still there");
    expect(await other.hears(1)).toEqual(["?still there"]);
    other.close();
  });

  test("fields, query, cookies and subprotocol of the upgrade reach the hooks, and theirs the client", async () => {
    const client = await RawClient.connect(cluster.host(region).port);
    const asked = [
      "X-Client: me",
      "Cookie: session=old; b=2",
      "Sec-WebSocket-Protocol: chat.v1, chat.v2",
      "X-Stateful-Epoch: 1",
    ];
    client.upgrade(`/talk/hooks-${way}/hooks?room=1`, asked);
    const { status, fields } = await client.answer();
    const field = (name: string) =>
      fields.filter(([candidate]) => candidate === name).map(([, value]) => value);
    expect([status, field("x-answer"), field("sec-websocket-protocol")]).toEqual([101, ["42"], ["chat.v2"]]);
    expect(JSON.parse(field("x-seen")[0] ?? "")).toEqual([
      "me",
      { room: "1" },
      "session=old; b=2",
      "chat.v1, chat.v2",
    ]);
    expect(field("set-cookie").join()).toContain("session=new");
    await until("open has run", () => client.received.includes("http://edge.example/talk/"));
    client.close();
  });

  test("what a handler sends before its open settles arrives at once, and in order", async () => {
    const client = await connect(region, `/talk/hello-${way}/hello`);
    expect(await client.hears(1)).toEqual(["first"]);
    await fetch(cluster.url("ams", `/talk/hello-${way}/publish/hello`), { method: "POST", body: "between" });
    expect(await client.hears(2)).toEqual(["first", "between"]);
    witness(`hello-${way}`).go.resolve();
    expect(await client.hears(3)).toEqual(["first", "between", "last"]);
    client.close();
  });

  test("a serial class handles messages of a socket one at a time, in order", async () => {
    const id = `serial-${way}`;
    const client = await connect(region, `/queue/${id}`);
    for (let n = 0; n < 50; n++) client.send(String(n));
    await until("the second is held", () => witness(id).log.includes("begin 1"));
    expect(witness(id).log).toEqual(["begin 0", "end 0", "begin 1"]);
    witness(id).go.resolve();
    expect(await client.hears(50)).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));
    expect(witness(id).log).toEqual(Array.from({ length: 50 }, (_, n) => [`begin ${n}`, `end ${n}`]).flat());
    client.close();
  });

  test("a client that leaves while the hooks run leaves nothing behind", async () => {
    const id = `early-${way}`;
    const client = await RawClient.connect(cluster.host(region).port);
    client.upgrade(`/talk/${id}/slow-hooks`);
    await until("the hooks run", () => witness(id).log.includes("asked"));
    client.close();
    // Both edges hear of it before the hooks go on: a request that is sent later has passed the same way by then.
    await fetch(cluster.url(region, `/talk/${id}/count/all`));
    witness(id).go.resolve();
    await until(
      "the event is over",
      () => cluster.host("iad").parts.table.live(`talk/${id}`)?.openEvents === 0,
    );
    await gone(id);
    await until("the edge has forgotten it", () => cluster.host(region).parts.sockets.size === 0);
    expect(witness(id).log.filter((entry) => entry === "opened").length).toBe(
      witness(id).log.filter((entry) => entry === "closed").length,
    );
  });
});

test("many clients that leave at any moment of the upgrade leave nothing behind", async () => {
  const id = "storm";
  witness(id).go.resolve();
  const clients: RawClient[] = [];
  for (let n = 0; n < 120; n++) {
    const client = await RawClient.connect(cluster.host(n % 2 === 0 ? "iad" : "ams").port);
    clients.push(client);
    client.upgrade(`/talk/${id}/slow-hooks`);
    for (let turn = 0; turn < n % 12; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    client.close();
  }
  await gone(id);
  const activation = cluster.host("iad").parts.table.live(`talk/${id}`);
  await until("no event is open", () => activation?.openEvents === 0);
  for (const region of ["iad", "ams"])
    await until(`${region} holds no socket`, () => cluster.host(region).parts.sockets.size === 0);
  const { log } = witness(id);
  expect(log.filter((entry) => entry === "opened").length).toBe(
    log.filter((entry) => entry === "closed").length,
  );
});

describe("topics", () => {
  test("ws.publish leaves its sender out, wherever sender and listeners are", async () => {
    const regions = ["iad", "ams", "iad", "ams"] as const;
    const clients = await Promise.all(regions.map((region) => connect(region, "/talk/publish/commands")));
    await until("all are subscribed", async () => (await counts("publish")).subscribers === 4);
    for (const [n, client] of clients.entries()) {
      client.send(`publish:${n}`);
      await until(`all have heard ${n}`, () =>
        clients.every((other) => other === client || other.heard.at(-1) === `${n}`),
      );
    }
    for (const [n, client] of clients.entries())
      expect(client.heard).toEqual(["0", "1", "2", "3"].filter((text) => text !== `${n}`));
    // A sender that does not listen itself leaves nobody out.
    clients[1]?.send("unsubscribe:all");
    await until("it is unsubscribed", async () => (await counts("publish")).subscribers === 3);
    clients[1]?.send("publish:deaf");
    await until("the others hear", () => [0, 2, 3].every((n) => clients[n]?.heard.at(-1) === "deaf"));
    expect(clients[1]?.heard).not.toContain("deaf");
    for (const client of clients) client.close();
    await gone("publish");
    expect((await counts("publish")).subscribers).toBe(0);
  });

  test("T2 topics are private to their object, whatever ids and names look like", async () => {
    const places = [
      ["1", "2\nall"],
      ["1%0A2", "all"],
      ["1%2F2", "all"],
      ["1", "all"],
      ["2", "all"],
    ] as const;
    const clients = await Promise.all(
      places.map(async ([id, topic], n) => {
        const client = await connect(n % 2 === 0 ? "iad" : "ams", `/talk/${id}/commands`);
        client.send("unsubscribe:all");
        client.send(`subscribe:${topic}`);
        await until("it is subscribed", async () => (await counts(id, topic)).subscribers >= 1);
        return client;
      }),
    );
    for (const [n, [id, topic]] of places.entries()) {
      const path = `/talk/${id}/publish/${encodeURIComponent(topic)}`;
      await fetch(cluster.url("ams", path), { method: "POST", body: `for ${n}` });
    }
    await until("everyone has heard", () => clients.every(({ heard }) => heard.length > 0));
    expect(clients.map(({ heard }) => heard)).toEqual(places.map((_, n) => [`for ${n}`]));
    for (const client of clients) client.close();
  });
});

describe("a reader that is too slow", () => {
  test.each(["flood", "fill"])(
    "T4 a burst (%s) that does not fit on the link closes the socket, instead of leaving it open with a gap",
    async (burst) => {
      const client = await connect("ams", `/talk/${burst}/commands`);
      client.send(burst);
      expect((await client.closed())[0]).toBe(4408);
      await gone(burst);
      expect(witness(burst).closings.map(([code]) => code)).toEqual([4408]);
      // The link and everyone else on it are none the worse.
      const other = await connect("ams", `/talk/${burst}/commands`);
      other.send("well?");
      expect(await other.hears(1)).toEqual(["?well?"]);
      other.close();
    },
  );

  test.each([...ways])(
    "E6 %s: is closed with 4408 by what is sent to it, and does not stay with the object",
    async (way, region) => {
      const id = `flood-${way}`;
      const slow = await RawClient.connect(cluster.host(region).port);
      slow.upgrade(`/talk/${id}/commands`);
      await until("it is open", async () => (await counts(id)).sockets === 1);
      slow.socket.pause();
      const frame = clientFrame("flood");
      for (let n = 0; n < 4; n++) slow.socket.write(frame);
      await gone(id);
      expect(witness(id).closings.map(([code]) => code)).toEqual([4408]);
      slow.close();
    },
  );

  test.each([...ways])(
    "E6 %s: does not keep a topic's messages from the others, and costs bounded memory",
    async (way, region) => {
      const id = `crowd-${way}`;
      const [quick, slow] = [
        await connect(region, `/talk/${id}/commands`),
        await RawClient.connect(cluster.host(region).port),
      ];
      slow.upgrade(`/talk/${id}/commands`);
      await until("both are subscribed", async () => (await counts(id)).subscribers === 2);
      slow.socket.pause();
      const text = "x".repeat(100_000);
      let largestBytes = 0;
      let sent = 0;
      const publish = async () => {
        await fetch(cluster.url("iad", `/talk/${id}/publish/all`), {
          method: "POST",
          body: `${sent++}:${text}`,
        });
        largestBytes = Math.max(largestBytes, buffered(region));
      };
      // The kernel takes some megabytes for a client before anything waits here.
      while ((await counts(id)).subscribers === 2 && sent < 1000) await publish();
      expect((await counts(id)).subscribers).toBe(1);
      expect(largestBytes).toBeGreaterThan(0);
      for (let n = 0; n < 50; n++) await publish();
      await quick.hears(sent);
      expect(quick.heard.map((message) => Number(String(message).split(":")[0]))).toEqual(
        Array.from({ length: sent }, (_, n) => n),
      );
      expect(witness(id).closings.map(([code]) => code)).toEqual([4408]);
      // The edge keeps its limit and what came until the next sweep.
      expect(largestBytes).toBeLessThan(4 * mebibyte);
      expect(quick.closing).toBeUndefined();
      quick.close();
      slow.close();
      await gone(id);
    },
    60_000,
  );
});

/** What waits at an edge for all of its clients. */
function buffered(region: string): number {
  return cluster.host(region).parts.sockets.bufferedBytes;
}

describe("a host that goes", () => {
  test("E14 a link that breaks between two living hosts costs no socket, and no message", async () => {
    const client = await connect("ams", "/talk/cut/commands");
    await until("it is open", async () => (await counts("cut")).subscribers === 1);
    const words = Array.from({ length: 30 }, (_, index) => `word${index}`);
    for (const [index, word] of words.entries()) {
      client.send(word);
      if (index % 10 === 5)
        for (const link of cluster.host("iad").parts.links.pool.links())
          link.close(new StatefulError("outcome_unknown", "cut by the test"));
      if (index % 10 === 7) await client.hears(index);
    }
    expect(await client.hears(words.length)).toEqual(words.map((word) => `?${word}`));
    expect(witness("cut").closings).toEqual([]);
    expect(await counts("cut")).toEqual({ subscribers: 1, sockets: 1 });
    client.close();
    await gone("cut");
  });

  test("an edge that stops closes its clients with 1012, and the owner's handlers hear", async () => {
    const edge = await cluster.add("nrt");
    const client = await connect("nrt", "/talk/edge-stops/commands");
    await until("it is open", async () => (await counts("edge-stops")).subscribers === 1);
    await edge.stop();
    expect((await client.closed())[0]).toBe(1012);
    await gone("edge-stops");
    expect(witness("edge-stops").closings).toHaveLength(1);
    expect(witness("edge-stops").closings[0]?.[0]).toBeOneOf([1006, 1012]);
    expect((await counts("edge-stops")).subscribers).toBe(0);
  });

  test("E14 an owner that stops closes its own clients with 1012, and those of other edges go on with the next", async () => {
    const own = await connect("iad", "/talk/owner-stops/commands");
    const other = await connect("ams", "/talk/owner-stops/commands");
    await until("both are open", async () => (await counts("owner-stops")).subscribers === 2);
    await cluster.host("iad").stop();
    expect((await own.closed())[0]).toBe(1012);
    other.send("meanwhile");
    await cluster.add("iad");
    expect(await other.hears(1)).toEqual(["?meanwhile"]);
    await until("it is subscribed", async () => (await counts("owner-stops")).subscribers === 1);
    expect(other.closing).toBeUndefined();
    other.close();
    await gone("owner-stops");
  });
});
