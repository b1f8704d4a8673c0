import { afterAll, beforeAll, expect, test } from "bun:test";
import counter from "../../objects/counter.ts";
import reminder from "../../objects/reminder.ts";
import wallet from "../../objects/wallet.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [counter, wallet, reminder],
    regions: ["iad", "ams"],
    directory: "sqld",
  });
});
afterAll(() => cluster?.stop());

async function post(region: string, path: string, body?: unknown) {
  const init =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const answer = await fetch(cluster.url(region, path), { method: "POST", ...init });
  return { status: answer.status, body: await answer.json() };
}

test("a counter goes on where it was when its host is gone", async () => {
  await post("iad", "/counter/a/increment");
  await post("ams", "/counter/a/increment", { by: 4 });
  await cluster.host("iad").stop();
  expect((await post("ams", "/counter/a/increment")).body).toEqual({ count: 6 });
  await cluster.add("iad");
});

test("S3 a wallet moves money as a whole or not at all, however many ask at once", async () => {
  await post("iad", "/wallet/w/deposit", { to: "spare", amount: 100 });
  const moves = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      post(n % 2 ? "iad" : "ams", "/wallet/w/move", { from: "spare", to: `pot-${n % 3}`, amount: 7 }),
    ),
  );
  expect(moves.filter(({ status }) => status === 200)).toHaveLength(14);
  expect(moves.filter(({ status }) => status === 409)).toHaveLength(16);
  const pots: Record<string, number> = await (await fetch(cluster.url("ams", "/wallet/w"))).json();
  expect(pots.spare).toBe(2);
  expect(Object.values(pots).reduce((sum, pot) => sum + pot, 0)).toBe(100);
  expect(await (await fetch(cluster.url("iad", "/wallet/w/history"))).json()).toHaveLength(15);
});

test("a reminder rings at its time, on whichever host has it then", async () => {
  const socket = await SocketClient.open(cluster.socketUrl("iad", "/reminder/r/-/topics/rings"));
  await post("ams", "/reminder/r", { text: "tea", inSeconds: 0.5 });
  await until("it rings", () => socket.heard.length > 0);
  expect(JSON.parse(String(socket.heard[0]))).toEqual({ text: "tea", attempt: 1 });
  socket.socket.close();
  const { reminders } = await (await fetch(cluster.url("iad", "/reminder/r"))).json();
  expect(reminders).toMatchObject([{ text: "tea", isDone: true }]);
});
