import { until } from "../../support/wait.ts";
import type { Scenario } from "../scenario.ts";

/** Sockets that subscribe to more than they may, and a million topics with subscribers or without. */
export const manyTopics: Scenario = {
  name: "many-topics",
  about:
    "1,000 sockets that ask for 1,000 topics each, of which 256 are allowed; a million topics of one object are published to",
  expected: ["101", "200"],
  floors: ({ size }) => ({ "101": size(500, 10), "200": size(1000, 10) }),
  growth: (stage) => ({
    mebibytes: stage.size(448, 96),
    because:
      "1,000 sockets × 256 subscriptions, each a name at the edge, at the owner and in Bun: 1.25 KiB; and 128 MiB",
  }),
  bystanderP99Ms: 1500,
  async run(stage) {
    const count = stage.size(1000, 300);
    const path = `/hub/a/many/{n}000/${count}`;
    const sockets = stage.size(1000, 10);
    const attack = await stage.attack({ kind: "sockets", sockets, path, reads: "always" });
    await attack.done(60_000);
    await Bun.sleep(stage.size(3000, 300));
    stage.figure("resident with all subscriptions, MiB", stage.host.residentBytes / 1024 / 1024);
    const { refused } = (await (await stage.ask("/hub/a")).json()) as { refused: number }; // what hub.ts answers
    stage.check(`${refused} of ${sockets} sockets were told that it is too much`, refused === sockets);
    const topics = stage.size(1_000_000, 10_000);
    const batch = 1000;
    const line = `POST /hub/a/publish/{n}000/${batch}`;
    const publisher = await stage.attack({ kind: "requests", connections: 4, count: topics / batch, line });
    await publisher.done(120_000);
    await Bun.sleep(200);
    stage.figure("heard", (await attack.report()).figures.heard ?? 0);
  },
  serves: async (stage) => (await stage.ask("/hub/a/publish/0/1", { method: "POST" })).ok,
  recoveryLimitMs: 5000,
};

/** Connections that subscribe to more than they may, to topics of many objects. */
export const manySubscriptions: Scenario = {
  name: "many-subscriptions",
  about:
    "300 connections for many, each of which asks for 300 subscriptions to topics of 300 objects; 256 are allowed",
  expected: ["101", "200"],
  floors: ({ size }) => ({ "101": size(300, 5), "200": size(1000, 50), heard: size(1000, 50) }),
  growth: (stage) => ({
    mebibytes: stage.size(704, 96),
    because:
      "300 connections × 256 subscriptions (subscriptionsMax), each a socket to its owner: 6 KiB, and 254 MiB of garbage",
  }),
  bystanderP99Ms: 1500,
  async run(stage) {
    const connections = stage.size(300, 5);
    const asked = stage.size(300, 270);
    const first = Array.from({ length: asked }, (_, n) =>
      JSON.stringify({ type: "subscribe", id: n + 1, object: `feed/shared-${n}`, topic: "close" }),
    );
    const path = "/-/connect";
    const attack = await stage.attack({
      kind: "sockets",
      sockets: connections,
      path,
      first,
      reads: "always",
    });
    const answered = async () => {
      const { figures } = await attack.report();
      return (figures.subscribed ?? 0) + (figures.refused ?? 0) === connections * asked && figures;
    };
    const told = await until("all subscriptions are answered", answered, 150_000);
    stage.figure("subscribed", told.subscribed ?? 0);
    stage.figure("refused", told.refused ?? 0);
    stage.check("256 of each connection were taken", told.subscribed === connections * 256);
    const line = "POST /feed/shared-{n%250}/say/close/1/100";
    const count = stage.size(1000, 50);
    await (await stage.attack({ kind: "requests", connections: 4, count, line })).done(60_000);
    await Bun.sleep(stage.size(1000, 200));
    stage.figure("heard", (await attack.report()).figures.message ?? 0);
  },
  serves: async (stage) => (await stage.ask("/feed/shared-1/say/close/1/1", { method: "POST" })).ok,
  recoveryLimitMs: 5000,
};
