import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { t } from "elysia";
import { object } from "../../infra/object/index.ts";
import { type Cluster, directoryKinds, startCluster } from "../support/cluster.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const counter = object("counter", {
  state: (): { count: number; log: string[]; seen: Map<string, number> } => ({
    count: 0,
    log: [],
    seen: new Map(),
  }),
  durability: "storage",
  topics: { count: { subscribe: "anyone" } },
})
  .get("/", ({ state }) => ({ count: state.count, log: state.log, seen: [...state.seen] }))
  .post(
    "/increment",
    ({ state, body, topics }) => {
      state.count += 1;
      state.log.push(body.who);
      state.seen.set(body.who, (state.seen.get(body.who) ?? 0) + 1);
      topics.publish("count", state.count);
      return state.count;
    },
    { body: t.Object({ who: t.String() }) },
  )
  .ws("/live", {
    open(ws) {
      ws.subscribe("count");
    },
    message(ws) {
      ws.data.state.count += 1;
      ws.send(ws.data.state.count);
    },
  });

const kept = object("kept", {})
  .get("/:key", async ({ storage, params }) => ({ value: await storage.get(params.key) }))
  .put("/:key", async ({ storage, params, body }) => {
    await storage.put(params.key, body);
    return "ok";
  })
  .post("/race", async ({ storage }) => {
    const n = (await storage.get<number>("n")) ?? 0;
    await storage.put("n", n + 1);
    return n + 1;
  });

const snap = object("snap", { state: () => ({ n: 0 }), durability: "snapshot" })
  .get("/", ({ state }) => state.n)
  .post("/", ({ state }) => ++state.n);

for (const directory of directoryKinds) {
  describe(`durable objects on ${directory}`, () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startCluster({ classes: [counter, kept, snap], directory });
    });
    afterAll(() => cluster?.stop());

    const increment = (region: string, id: string, who: string) =>
      fetch(cluster.url(region, `/counter/${id}/increment`), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ who }),
      });

    test("S1 the state of a durable class outlives its host, nested changes and Maps included", async () => {
      for (const who of ["a", "b", "a"]) expect((await increment("iad", "x", who)).status).toBe(200);
      const owner = cluster.hosts.find(({ parts }) => parts.table.live("counter/x"));
      await owner?.stop();
      const other = cluster.hosts.find((host) => host !== owner);
      const answer = await fetch(`${other?.url}/counter/x`);
      expect(await answer.json()).toEqual({
        count: 3,
        log: ["a", "b", "a"],
        seen: [
          ["a", 2],
          ["b", 1],
        ],
      });
      await cluster.add(owner?.region ?? "iad");
    });

    test("S2 eight that read and then write lose nothing", async () => {
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => fetch(cluster.url("ams", "/kept/r/race"), { method: "POST" })),
      );
      const counts = await Promise.all(answers.map(async (answer) => Number(await answer.text())));
      expect(counts.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    });

    test("storage is kept in every class, and a socket hears of durable changes only", async () => {
      await fetch(cluster.url("nrt", "/kept/k/a"), {
        method: "PUT",
        body: "hello",
        headers: { "content-type": "text/plain" },
      });
      expect(await (await fetch(cluster.url("iad", "/kept/k/a"))).json()).toEqual({ value: "hello" });
      const socket = await SocketClient.open(cluster.socketUrl("nrt", "/counter/ws/live"));
      socket.send("1");
      await until("the answer", () => socket.heard.length === 1);
      expect(socket.heard).toEqual(["1"]);
      await increment("iad", "ws", "z");
      await until("the publish", () => socket.heard.length === 2);
      expect(socket.heard).toEqual(["1", "2"]);
      socket.socket.close();
    });
  });
}
