import { until } from "../../support/wait.ts";
import type { RunningAttack, Scenario } from "../scenario.ts";

const policies = ["close", "close-kept", "oldest", "oldest-kept", "latest", "latest-kept"] as const;

/** A publisher that says more than its readers take, to topics of each policy, with a history and without. */
export const fastPublisher: Scenario = {
  name: "fast-publisher",
  about:
    "100 readers of each kind of topic who read a tenth of the time, and a publisher that never waits for them",
  expected: ["101", "200", "close 4408", "lost"],
  floors: ({ size }) => ({
    "101": size(600, 30),
    "200": size(6000, 60),
    "heard by those who stay": size(10_000, 1),
  }),
  growth: ({ size }) => ({
    mebibytes: size(6 * 100, 6 * 10) * 2 + 128,
    because: "600 readers × 1 MiB (STATEFUL_BACKPRESSURE_LIMIT_BYTES), twice, and 128 MiB",
  }),
  bystanderP99Ms: 1500,
  async run(stage) {
    const readers: RunningAttack[] = [];
    const chosen = stage.size<readonly string[]>(policies, ["close", "oldest-kept", "latest"]);
    for (const policy of chosen) {
      const path = `/feed/${policy}/-/topics/${policy}`;
      const sockets = stage.size(100, 10);
      const attack = await stage.attack({ kind: "sockets", sockets, path, reads: "seldom" });
      await attack.done(20_000);
      readers.push(attack);
    }
    const line = (policy: string) => `POST /feed/${policy}/say/${policy}/10/16384`;
    const publishers: RunningAttack[] = [];
    for (const policy of chosen) {
      const count = stage.size(1000, 20);
      publishers.push(await stage.attack({ kind: "requests", connections: 1, count, line: line(policy) }));
    }
    for (const publisher of publishers) await publisher.done(120_000);
    // They read seldom: a small load is over before they have looked.
    for (const [index, policy] of chosen.entries())
      await until(
        `readers of ${policy} hear something`,
        async () => ((await readers[index]?.report())?.figures.heard ?? 0) > 0,
        10_000,
      );
    let heard = 0;
    for (const [index, policy] of chosen.entries()) {
      const report = await readers[index]?.report();
      stage.figure(`${policy}: still open`, report?.figures.open ?? 0);
      stage.figure(`${policy}: heard`, report?.figures.heard ?? 0);
      if (policy.startsWith("close")) continue;
      heard += report?.figures.heard ?? 0;
      stage.check(`readers of ${policy} are left`, report?.figures.open === stage.size(100, 10));
    }
    stage.figure("heard by those who stay", heard);
    stage.figure("left out", (await stage.host.metrics()).stateful_topic_messages_skipped_total ?? 0);
  },
  serves: async (stage) => (await stage.ask("/feed/oldest/say/oldest/1/1", { method: "POST" })).ok,
  recoveryLimitMs: 2000,
};
