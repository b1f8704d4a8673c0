import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";

const mebibyte = 1024 * 1024;

const ticker = object("ticker", {
  placement: { regions: ["iad"] },
  topics: {
    rate: { subscribe: "anyone", slowReaders: "conflate" },
    log: { subscribe: "anyone", slowReaders: "drop-oldest" },
  },
})
  .get("/count/rate", ({ topics }) => topics.subscriberCount("rate"))
  .get("/count/log", ({ topics }) => topics.subscriberCount("log"))
  .post("/rate/:n", ({ topics, params }) => topics.publish("rate", `${params.n}:${"x".repeat(100_000)}`))
  .post("/log/:n", ({ topics, params }) => topics.publish("log", `${params.n}:${"x".repeat(100_000)}`));

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [ticker], regions: ["iad", "ams"] });
});
afterAll(() => cluster.stop());

const ask = async (path: string, method = "GET") =>
  (await fetch(cluster.url("iad", path), { method })).text();

test.each([
  ["rate", "iad"],
  ["rate", "ams"],
  ["log", "iad"],
  ["log", "ams"],
])(
  "T8 E6 a reader of %s at %s that stops reading costs bounded memory, stays, and is told what it missed when it reads again",
  async (topic, region) => {
    const id = `${topic}-${region}`;
    const { sockets } = cluster.host(region).parts;
    const slow = await RawClient.connect(cluster.host(region).port);
    slow.head(`GET /ticker/${id}/-/topics/${topic}`, ["Accept: text/event-stream"]);
    await until("it is subscribed", async () => (await ask(`/ticker/${id}/count/${topic}`)) === "1");
    const before = sockets.lenient.figures.skipped;
    slow.socket.pause();
    let largestBytes = 0;
    let last = 0;
    // The kernel takes some megabytes for it first.
    while (sockets.lenient.figures.skipped === before && last < 1000) {
      await ask(`/ticker/${id}/${topic}/${++last}`, "POST");
      largestBytes = Math.max(largestBytes, sockets.bufferedBytes);
    }
    for (let n = 0; n < 50; n++) await ask(`/ticker/${id}/${topic}/${++last}`, "POST");
    expect(sockets.lenient.figures.skipped - before).toBeGreaterThan(40);
    expect(Math.max(largestBytes, sockets.bufferedBytes)).toBeLessThan(mebibyte);
    expect(await ask(`/ticker/${id}/count/${topic}`)).toBe("1");
    let text = "";
    slow.socket.on("data", (chunk) => {
      text += chunk;
    });
    slow.socket.resume();
    await until("it hears the latest", () => text.includes(`data: ${last}:`));
    const heard = Array.from(text.matchAll(/data: (\d+):/g), ([, n]) => Number(n));
    const skipped = Array.from(text.matchAll(/event: skipped\ndata: \{"count":(\d+)\}/g), ([, n]) =>
      Number(n),
    );
    expect(heard).toEqual([...heard].sort((a, b) => a - b));
    expect(skipped.reduce((sum, count) => sum + count, 0)).toBe(last - new Set(heard).size);
    slow.close();
    await until("it has left", async () => (await ask(`/ticker/${id}/count/${topic}`)) === "0");
    expect(sockets.lenient.figures.behind).toBe(0);
  },
  60_000,
);
