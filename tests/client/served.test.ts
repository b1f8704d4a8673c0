import { afterEach, expect, test } from "bun:test";
import { type Client, type ConnectOptions, connect } from "../../apps/client/index.ts";
import { until } from "../support/wait.ts";
import { Ear } from "./ear.ts";
import { ScriptedHost, type ScriptedTopics } from "./scripted-host.ts";
import { ServedHost } from "./served-host.ts";

/** The client as it is: real time, real sockets, real ports. What needs no network is tried in the other files. */
const soon: ConnectOptions = { minReconnectionDelay: 20, maxReconnectionDelay: 100 };
const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

function cluster() {
  const topics: ScriptedTopics = new Map();
  const hosts = ["iad-1", "ams-1"].map((name) => new ScriptedHost(name, topics));
  for (const host of hosts) host.peers = hosts.filter((other) => other !== host);
  const served = hosts.map((host) => new ServedHost(host));
  ending.push(...served.map((host) => () => host.stop()));
  return { hosts, served, urls: served.map(({ url }) => url) };
}

function connected(urls: readonly string[], options: ConnectOptions = {}): Client {
  const client = connect(urls, { ...soon, ...options });
  ending.push(() => client.close());
  return client;
}

test("C1 C8 a host that goes is followed to the next one, and nothing is missed or heard twice", async () => {
  const { hosts, served, urls } = cluster();
  const client = connected(urls);
  const ear = new Ear(client.object("room", "lobby").topic("chat"));
  await until("it is subscribed", () => ear.subscription.state === "subscribed");
  const ams = hosts[1] as ScriptedHost; // one of the two above
  ams.topic("room/lobby", "chat").historyMax = 2_000;
  for (let n = 1; n <= 2_000; n += 1) {
    ams.publish("room/lobby", "chat", n);
    if (n === 700) await served[0]?.stop();
    if (n % 250 === 0) ams.drop(n % 500 === 0 ? 1006 : 1012);
    if (n % 250 === 100) await until("it is back", () => ear.subscription.state === "subscribed");
  }
  await until("all of it is heard", () => ear.messages.at(-1) === 2_000);
  expect(ear.messages).toEqual(Array.from({ length: 2_000 }, (_, index) => index + 1));
  expect(client.state).toMatchObject({ status: "open", url: urls[1], host: "ams-1" });
});

test("C11 C16 a loop hears what is published through the client", async () => {
  const { urls } = cluster();
  const chat = connected(urls).object("room", "lobby").topic("chat");
  const messages = chat.messages();
  for (const n of [1, 2, 3]) await chat.publish({ n });
  expect(
    [await messages.next(), await messages.next(), await messages.next()].map(({ value }) => value),
  ).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  await messages.return();
});

test("C17 a socket echoes, and comes back", async () => {
  const { hosts, urls } = cluster();
  for (const host of hosts) {
    host.isRaw = true;
    host.answersRaw = (text) => `echo ${text}`;
  }
  const socket = connected(urls).object("room", "lobby").socket("/live");
  const heard: unknown[] = [];
  let closings = 0;
  socket.onclose = () => {
    closings += 1;
  };
  socket.addEventListener("message", ({ data }) => heard.push(data));
  socket.send("one");
  await until("the echo", () => heard.length === 1);
  hosts[0]?.drop(1012);
  await until("it is back", () => closings > 0 && socket.readyState === 1);
  socket.send("two");
  await until("the second echo", () => heard.length === 2);
  expect(heard).toEqual(["echo one", "echo two"]);
});
