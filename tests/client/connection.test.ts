import { expect, test } from "bun:test";
import { Client } from "../../apps/client/client.ts";
import { Endpoints } from "../../apps/client/endpoints.ts";
import type { ConnectionState } from "../../apps/client/kept-connection.ts";
import { retryAfterClose, retryDelayMs } from "../../apps/client/retry.ts";
import { Ear } from "./ear.ts";
import { amsUrl, iadUrl, Rig, TestSurroundings } from "./rig.ts";

const iadHost = new URL(iadUrl).host;
const amsHost = new URL(amsUrl).host;

function statesOf(rig: Rig): ConnectionState[] {
  const states: ConnectionState[] = [];
  rig.client.on("state", (state) => states.push(state));
  return states;
}

test("C4 nothing is opened before it is needed, and nothing stays open that is not", async () => {
  const rig = new Rig();
  const states = statesOf(rig);
  expect(rig.client.state).toEqual({ status: "idle" });
  expect(rig.network.dialled).toEqual([]);
  const ear = new Ear(rig.chat);
  await rig.settle();
  ear.subscription();
  await rig.pass(9_000);
  expect(rig.network.sockets.size).toBe(1);
  await rig.pass(2_000);
  expect(rig.network.sockets.size).toBe(0);
  expect(states.map(({ status }) => status)).toEqual(["connecting", "open", "idle"]);
  const again = new Ear(rig.chat);
  await rig.settle();
  expect(again.notes).toEqual(["subscribed"]);
  await rig.close();
});

test("C4 one attempt at a time: whatever wakes, whoever subscribes, and however often", async () => {
  const rig = new Rig();
  rig.network.down.add(iadHost).add(amsHost);
  for (let index = 0; index < 20; index += 1) {
    new Ear(rig.chat);
    rig.around.wake();
    await rig.pass(100, 50);
    expect(rig.network.sockets.size).toBeLessThanOrEqual(1);
  }
  await rig.close();
});

test("C5 each attempt asks for headers anew, and says them first", async () => {
  let count = 0;
  const rig = new Rig({ headers: () => [["Authorization", `Bearer ${++count}`]] });
  new Ear(rig.chat);
  await rig.settle();
  rig.iad.drop();
  await rig.pass(2_000);
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["hello", "subscribe", "hello", "subscribe"]);
  expect(rig.iad.of("hello").map(({ headers }) => headers)).toEqual([
    { authorization: "Bearer 1" },
    { authorization: "Bearer 2" },
  ]);
  await rig.close();
});

test("C5 headers that cannot be had, or that do not come, cost an attempt and blame no host", async () => {
  let kind = "throws";
  const rig = new Rig({
    headers: async () => {
      if (kind === "throws") throw new Error("the token server is down");
      if (kind === "hangs") await new Promise(() => undefined);
      return {};
    },
  });
  new Ear(rig.chat);
  await rig.settle();
  expect(rig.client.state).toMatchObject({
    status: "waiting",
    url: iadUrl,
    reason: "the token server is down",
  });
  kind = "hangs";
  await rig.pass(10_750);
  expect(rig.client.state).toMatchObject({ status: "waiting", url: iadUrl, failures: 2 });
  kind = "comes";
  await rig.pass(2_000);
  expect(rig.client.state).toMatchObject({ status: "open", url: iadUrl });
  await rig.close();
});

test("C4 C5 headers that come too late are not used", async () => {
  const late: (() => void)[] = [];
  const rig = new Rig({ headers: () => new Promise((resolve) => late.push(() => resolve({ late: "yes" }))) });
  new Ear(rig.chat);
  await rig.pass(11_000);
  expect(late.length).toBe(2);
  for (const come of late) come();
  await rig.settle();
  expect(rig.network.dialled.length).toBe(1);
  expect(rig.client.state.status).toBe("open");
  await rig.close();
});

test("C8 two who find the same host down leave it once", () => {
  const endpoints = new Endpoints([iadUrl, amsUrl]);
  endpoints.failed(iadUrl);
  endpoints.failed(iadUrl);
  expect(endpoints.current).toBe(amsUrl);
  endpoints.failed(amsUrl);
  expect(endpoints.current).toBe(iadUrl);
});

test("C5 a connection closed with 4401 is tried once with fresh credentials, and again after it has been good", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.iad.drop(4401);
  await rig.pass(8_000);
  expect(ear.take()).toEqual(["subscribed", "subscribed, recovered true"]);
  rig.iad.drop(4401);
  await rig.pass(1_000);
  expect(ear.take()).toEqual(["subscribed, recovered true"]);
  rig.iad.drop(4401, "still wrong");
  await rig.settle();
  expect(ear.take()).toEqual(["ended 4401"]);
  expect(rig.client.state).toEqual({ status: "closed", code: 4401, reason: "still wrong" });
  await rig.close();
});

test("C6 the close codes of the page", () => {
  const page = Object.fromEntries(
    [
      1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4403, 4404, 4408, 4999,
    ].map((code) => [code, retryAfterClose(code)]),
  );
  expect(page).toEqual({
    1000: "no",
    1001: "yes",
    1002: "no",
    1003: "no",
    1006: "yes",
    1007: "no",
    1008: "no",
    1009: "no",
    1011: "slowly",
    1012: "yes",
    1013: "slowly",
    4000: "no",
    4401: "credentials",
    4403: "no",
    4404: "no",
    4408: "yes",
    4999: "no",
  });
});

test("C6 a code after which nobody may come back ends everything on the connection; new needs open another", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.iad.drop(1008, "not understood");
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", "ended 1008"]);
  expect(rig.client.state).toEqual({ status: "closed", code: 1008, reason: "not understood" });
  const next = new Ear(rig.chat);
  await rig.settle();
  expect(next.notes).toEqual(["subscribed"]);
  await rig.close();
});

test("C7 delays are random, grow from round to round, and end at the limit", () => {
  const delays = { minReconnectionDelay: 1_000, maxReconnectionDelay: 8_000, reconnectionDelayGrowFactor: 2 };
  const range = (failures: number, ways: number, retry: "yes" | "slowly") =>
    [0, 1].map((chance) => retryDelayMs(delays, { failures, ways, retry }, { random: () => chance }));
  expect([0, 1, 2, 3, 4, 5, 50].map((failures) => range(failures, 1, "yes"))).toEqual([
    [0, 1_000],
    [500, 1_000],
    [1_000, 2_000],
    [2_000, 4_000],
    [4_000, 8_000],
    [4_000, 8_000],
    [4_000, 8_000],
  ]);
  // Two hosts: the second is asked soon after the first has failed, and then the round has been in vain.
  expect([1, 2, 3, 4].map((failures) => range(failures, 2, "yes"))).toEqual([
    [0, 1_000],
    [500, 1_000],
    [0, 1_000],
    [1_000, 2_000],
  ]);
  expect([0, 1, 9].map((failures) => range(failures, 1, "slowly"))).toEqual([
    [2_000, 4_000],
    [2_000, 4_000],
    [4_000, 8_000],
  ]);
});

test("C7 a wake ends a wait, and does not become a way around the delays", async () => {
  const rig = new Rig({ minReconnectionDelay: 1_000 }, iadUrl);
  rig.network.down.add(iadHost);
  new Ear(rig.chat);
  await rig.pass(30_000, 1_000);
  const before = rig.network.dialled.length;
  for (let index = 0; index < 10; index += 1) {
    rig.around.wake();
    await rig.settle();
  }
  expect(rig.network.dialled.length).toBeLessThanOrEqual(before + 1);
  await rig.pass(1_000);
  rig.network.down.clear();
  rig.around.wake();
  await rig.settle();
  expect(rig.client.state.status).toBe("open");
  await rig.close();
});

test("C7 a host that says 1012 is asked again at once", async () => {
  const rig = new Rig({ minReconnectionDelay: 400 });
  new Ear(rig.chat);
  await rig.pass(10_000, 1_000);
  rig.iad.drop(1012);
  await rig.pass(400, 100);
  expect(rig.client.state).toMatchObject({ status: "open", url: iadUrl });
  await rig.close();
});

test("C7 maxRetries: so many failures one after the other, and it is over", async () => {
  const rig = new Rig({ maxRetries: 2 });
  rig.network.down.add(iadHost).add(amsHost);
  const ear = new Ear(rig.chat);
  await rig.pass(60_000, 1_000);
  expect(rig.network.dialled).toEqual([iadHost, amsHost, iadHost]);
  expect(ear.notes).toEqual(["ended 1006"]);
  await rig.close();
});

test("C8 the next host is asked where one fails, and the nearest again at the next reconnect after a good while", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.network.down.add(iadHost);
  rig.iad.drop(1006);
  await rig.pass(5_000);
  expect(rig.client.state).toMatchObject({ status: "open", host: "ams-1", region: "ams" });
  rig.network.down.clear();
  await rig.pass(20_000, 1_000);
  rig.ams.drop(1012);
  await rig.pass(5_000);
  expect(rig.client.state).toMatchObject({ host: "ams-1" });
  await rig.pass(70_000, 1_000);
  expect(rig.client.state).toMatchObject({ host: "ams-1" }); // nobody leaves what works
  rig.ams.drop(1012);
  await rig.pass(5_000);
  expect(rig.client.state).toMatchObject({ host: "iad-1" });
  expect(ear.notes).not.toContain("gap: lost");
  await rig.close();
});

test("C8 a host that accepts and then says nothing is given up in time, and so is one that never answers", async () => {
  const rig = new Rig({ connectionTimeout: 3_000 });
  rig.iad.greets = false;
  rig.iad.isSilent = true;
  new Ear(rig.chat);
  await rig.pass(2_900, 100);
  expect(rig.client.state).toMatchObject({ status: "connecting", url: iadUrl });
  rig.network.mute.add(amsHost);
  await rig.pass(1_000, 100);
  expect(rig.client.state).toMatchObject({ status: "connecting", url: amsUrl });
  await rig.pass(3_000, 100);
  expect(rig.client.state).toMatchObject({ status: "waiting", url: iadUrl });
  rig.iad.greets = true;
  rig.iad.isSilent = false;
  await rig.pass(5_000);
  expect(rig.client.state).toMatchObject({ status: "open", host: "iad-1" });
  await rig.close();
});

test("C9 a connection that is gone without a word is noticed within 25 seconds", async () => {
  const rig = new Rig();
  const ear = new Ear(rig.chat);
  await rig.settle();
  rig.network.cut();
  rig.publish(1);
  await rig.pass(24_000, 1_000);
  expect(rig.client.state.status).toBe("open");
  await rig.pass(3_000);
  expect(ear.notes).toEqual(["subscribed", "subscribed, recovered true", 1]);
  await rig.close();
});

test("C9 a connection on which nothing happens is asked, answers, and stays", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.pass(600_000, 5_000);
  expect(rig.network.dialled.length).toBe(1);
  expect(rig.iad.of("ping").length).toBeGreaterThanOrEqual(30);
  expect(rig.iad.of("ping").length).toBeLessThanOrEqual(40);
  await rig.close();
});

test("C9 a machine that wakes asks at once", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.settle();
  rig.around.wake();
  rig.around.wake();
  await rig.settle();
  expect(rig.iad.of("ping").length).toBe(1);
  rig.network.cut();
  rig.around.wake();
  await rig.pass(12_000);
  expect(rig.client.state.status).toBe("open");
  expect(rig.network.dialled.length).toBe(2);
  await rig.close();
});

test("C9 a machine that slept for an hour does not take a living connection for dead", async () => {
  const rig = new Rig();
  new Ear(rig.chat);
  await rig.settle();
  rig.around.freeze(3_600_000);
  await rig.pass(1_000);
  await rig.pass(60_000, 5_000);
  expect(rig.network.dialled.length).toBe(1);
  await rig.close();
});

test("what waits says when it goes on, and why", async () => {
  const rig = new Rig({}, iadUrl);
  new Ear(rig.chat);
  await rig.settle();
  rig.iad.drop(1012, "deploy");
  await rig.settle();
  const { state } = rig.client;
  expect(state).toMatchObject({ status: "waiting", url: iadUrl, failures: 1, code: 1012, reason: "deploy" });
  const waitMs = state.status === "waiting" ? state.retryAt.getTime() - rig.around.wallMs() : 0;
  expect(waitMs).toBeGreaterThan(0);
  expect(waitMs).toBeLessThanOrEqual(1_000);
  await rig.close();
});

test("reconnect() leaves what there is for the nearest host, with fresh credentials; startClosed waits for it", async () => {
  let count = 0;
  const rig = new Rig({ startClosed: true, headers: () => ({ count: String(++count) }) });
  const ear = new Ear(rig.chat);
  await rig.pass(5_000);
  expect(rig.network.dialled).toEqual([]);
  rig.client.reconnect();
  await rig.settle();
  rig.publish(1);
  await rig.settle();
  rig.client.reconnect();
  rig.publish(2);
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", 1, "subscribed, recovered true", 2]);
  expect(rig.iad.of("hello").map(({ headers }) => headers)).toEqual([{ count: "1" }, { count: "2" }]);
  expect(rig.iad.connections.size).toBe(1);
  await rig.close();
  expect(() => rig.client.reconnect()).toThrow("closed");
});

test("what is wrong is said at once, with what to do", async () => {
  const around = new TestSurroundings();
  const make = (urls: string | string[], options = {}) => new Client(urls, options, around);
  expect(() => make([])).toThrow("at least one URL");
  expect(() => make("iad.example.com")).toThrow('"iad.example.com" is not the URL of a host');
  expect(() => make("ftp://iad.example.com")).toThrow("is not the URL of a host");
  expect(() => make(iadUrl, { minReconnectionDelay: -1 })).toThrow("minReconnectionDelay is -1");
  expect(() => make(iadUrl, { connectionTimeout: Number.NaN })).toThrow("connectionTimeout");
  expect(() => make(iadUrl).object("room", "..")).toThrow('".." cannot be the id');
  const rig = new Rig({}, `${iadUrl}/`);
  new Ear(rig.chat);
  await rig.settle();
  expect([...rig.network.sockets].map(({ url }) => url)).toEqual(["wss://iad.test/-/connect?protocol=1"]);
  await rig.close();
});

test("a client without any WebSocket says so where one is needed", async () => {
  const global = globalThis.WebSocket;
  // As in Node 20.
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    const client = new Client(iadUrl, {}, new TestSurroundings());
    const lobby = client.object("room", "lobby");
    expect(() => lobby.topic("chat").subscribe(() => undefined)).toThrow("connect(url, { WebSocket })");
    expect(() => lobby.socket("/live")).toThrow("connect(url, { WebSocket })");
    expect(lobby.topic("chat").publish("x")).rejects.toThrow("connect(url, { WebSocket })");
    client.close();
  } finally {
    globalThis.WebSocket = global;
  }
});

test("C15 a signal closes the client", async () => {
  const controller = new AbortController();
  const rig = new Rig({ signal: controller.signal });
  const ear = new Ear(rig.chat);
  await rig.settle();
  controller.abort();
  await rig.settle();
  expect(ear.notes).toEqual(["subscribed", "ended 1000"]);
  expect(rig.client.state).toEqual({ status: "closed", code: 1000, reason: "" });
  await rig.close();
});

test("debug tells what the connections do", async () => {
  const lines: string[] = [];
  const rig = new Rig({ debug: true, debugLogger: (line) => lines.push(line) });
  new Ear(rig.chat);
  await rig.settle();
  expect(lines.map((line) => JSON.parse(line.slice(line.indexOf("{"))).status)).toEqual([
    "connecting",
    "open",
  ]);
  await rig.close();
});
