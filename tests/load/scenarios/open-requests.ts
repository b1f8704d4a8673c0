import type { LoadStage, Scenario } from "../scenario.ts";

const growth = (stage: LoadStage) => ({
  mebibytes: stage.size(96, 64),
  because: "1,024 open events (queueLengthMax) of a few KiB, and 64 MiB",
});

function scenario(name: string, about: string, target: string): Scenario {
  return {
    ...{ name, about, growth },
    expected: ["429 queue_full", "lost"],
    floors: ({ size }) => ({ "429 queue_full": size(3000, 50) }),
    bystanderP99Ms: 1000,
    async run(stage) {
      const lines = [`GET ${target}/never HTTP/1.1`, "Host: load.test"];
      const connections = stage.size(5000, 1100);
      const held = await stage.attack({ kind: "held", connections, lines, reads: true });
      await held.done(30_000);
      await Bun.sleep(stage.size(10_000, 300));
      const { tally } = await held.report();
      stage.check(`${tally["429 queue_full"]} were refused`, tally["429 queue_full"] === connections - 1024);
      await held.step("leave");
    },
    serves: async (stage) => (await stage.ask(target)).ok,
    recoveryLimitMs: 2000,
  };
}

export const openRequests = scenario(
  "open-requests",
  "5,000 requests to one object whose handlers do not end",
  "/patient/a",
);
export const openSerial = scenario(
  "open-serial",
  "the same, where one handler runs at a time",
  "/patient-serial/a",
);

/** Heads and bodies of which a drop comes now and then. */
export const slowLoris: Scenario = {
  name: "slow-loris",
  about: "2,000 heads and 1,000 bodies of which a few bytes come each second",
  expected: ["lost", "429 queue_full"],
  floors: ({ size }) => ({ "connections at the host": size(2000, 50) }),
  growth: (stage) => ({
    mebibytes: stage.size(128, 64),
    because: "3,000 connections with at most 16 KiB of a head or of a body, and 64 MiB",
  }),
  bystanderP99Ms: 1000,
  async run(stage) {
    const head = ["GET /files/a HTTP/1.1", "Host: load.test"];
    const body = ["POST /files/a/read HTTP/1.1", "Host: load.test", "Content-Length: 100000"];
    const everyMs = stage.size(1000, 50);
    const drop = (text: string) => ({ reads: true, drop: { text, everyMs } }) as const;
    const attacks = await Promise.all([
      stage.attack({
        ...{ kind: "held", connections: stage.size(2000, 50), lines: head, isHeadOpen: true },
        ...drop("X-Drop: a\r\n"),
      }),
      stage.attack({ kind: "held", connections: stage.size(1000, 50), lines: body, ...drop("drop") }),
    ]);
    for (const attack of attacks) await attack.done(30_000);
    stage.figure("connections at the host", stage.host.connections);
    await Bun.sleep(stage.size(30_000, 500));
    for (const attack of attacks) await attack.step("leave");
  },
  serves: async (stage) => (await stage.ask("/files/a/read", { method: "POST", body: "x" })).ok,
  recoveryLimitMs: 2000,
};

/** Clients that open a connection for each request, faster than those are served. */
export const newConnections: Scenario = {
  name: "new-connections",
  about: "50 clients that open a connection for each request, to a handler that takes 10 ms of the processor",
  expected: ["200"],
  floors: ({ size }) => ({ "200": size(100, 10) }),
  growth: () => ({ mebibytes: 64, because: "50 connections with a request each" }),
  bystanderP99Ms: 1000,
  async run(stage) {
    const forMs = stage.size(20_000, 1000);
    const line = "GET /patient/a/busy/10";
    const asked = {
      kind: "requests",
      connections: 50,
      count: 1_000_000,
      line,
      opensAnew: true,
      forMs,
    } as const;
    const { figures } = await (await stage.attack(asked)).done(forMs + 20_000);
    stage.figure("a second", figures.perSecond ?? 0);
  },
  serves: async (stage) => (await stage.ask("/patient/a")).ok,
  recoveryLimitMs: 2000,
};
