import type { Scenario } from "../scenario.ts";

const limit = 600;

/** More connections than the process may have files open. */
export const descriptors: Scenario = {
  name: "descriptors",
  about: "1,500 idle connections to a host that may have 600 descriptors",
  runner: ["prlimit", `--nofile=${limit}`],
  expected: ["lost"],
  floors: () => ({ "connections at the host": limit / 2 }),
  growth: () => ({ mebibytes: 64, because: "600 descriptors with nothing behind them" }),
  bystanderP99Ms: 1500,
  async run(stage) {
    const lines = ["GET /files/a HTTP/1.1", "Host: load.test"];
    const connections = stage.size(1500, 800);
    const held = await stage.attack({ kind: "held", connections, lines, reads: true, isHeadOpen: true });
    await held.done(30_000);
    stage.figure("connections at the host", stage.host.connections);
    await Bun.sleep(stage.size(12_000, 1000));
    await held.step("leave");
  },
  serves: async (stage) => (await stage.ask("/files/a")).ok,
  recoveryLimitMs: 5000,
};
