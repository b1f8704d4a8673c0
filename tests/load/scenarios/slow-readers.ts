import { until } from "../../support/wait.ts";
import type { LoadStage, Scenario } from "../scenario.ts";

/** The default of STATEFUL_BACKPRESSURE_LIMIT_BYTES. */
const limitMiB = 1;
const clients = (stage: Pick<LoadStage, "size">) => stage.size(500, 20);

/** Publishes so many messages of 16 KiB, or until nobody is left to hear them. */
async function say(stage: LoadStage, topic: string, messages: number): Promise<void> {
  for (let said = 0; said < messages; said++) {
    const { status } = await stage.ask(`/feed/a/say/${topic}/1/16384`, { method: "POST" });
    stage.check(`a publish was answered with ${status}`, status === 200);
    if (said % 16 === 0 && (await stage.host.metrics()).stateful_sockets === 1) return;
  }
}

/** Those of the load: the bystander has one. */
async function openSockets(stage: LoadStage): Promise<number> {
  return ((await stage.host.metrics()).stateful_sockets ?? 0) - 1;
}

/** Twice the limit for each: Bun's own buffer grows by doubling. And what is published waits in it once more while it is written. */
const growth = (stage: LoadStage) => ({
  mebibytes: clients(stage) * limitMiB * 2 + 128,
  because: `${clients(stage)} readers × 1 MiB (STATEFUL_BACKPRESSURE_LIMIT_BYTES), twice, and 128 MiB`,
});

/** WebSockets that listen to a topic, and read nothing. */
export const slowSockets: Scenario = {
  name: "slow-sockets",
  about: "500 WebSockets that read nothing of a topic on which 32 MiB are said",
  expected: ["101", "close 4408", "lost"],
  floors: (stage) => ({ "101": clients(stage) }),
  growth,
  bystanderP99Ms: 1500,
  async run(stage) {
    const path = "/feed/a/-/topics/close";
    const slow = await stage.attack({ kind: "sockets", sockets: clients(stage), path, reads: "never" });
    await slow.done(30_000);
    await say(stage, "close", stage.size(2048, 512));
    await slow.step("read");
    const closed = async () => {
      const report = await slow.report();
      return report.figures.open === 0 && report;
    };
    const { tally } = await until("all who read nothing are closed", closed, 30_000);
    stage.figure("closed with 4408", tally["close 4408"] ?? 0);
    stage.figure("cut off", tally.lost ?? 0);
  },
  serves: async (stage) => (await stage.ask("/feed/a/say/close/1/1", { method: "POST" })).ok,
  recoveryLimitMs: 2000,
};

/** Event streams that read nothing. */
export const slowStreams: Scenario = {
  name: "slow-streams",
  about: "500 event streams that read nothing of a topic on which 32 MiB are said",
  expected: ["lost"],
  floors: (stage) => ({ "streams at the host": clients(stage) }),
  growth,
  bystanderP99Ms: 1500,
  async run(stage) {
    const lines = ["GET /feed/a/-/topics/close HTTP/1.1", "Host: load.test", "Accept: text/event-stream"];
    const slow = await stage.attack({ kind: "held", connections: clients(stage), lines, reads: false });
    await slow.done(30_000);
    const streams = async () => (await openSockets(stage)) === clients(stage) && clients(stage);
    stage.figure("streams at the host", await until("all streams are open", streams, 30_000));
    await say(stage, "close", stage.size(2048, 512));
    const { stateful_sockets: left } = await stage.host.metrics();
    stage.check(`${left} places are taken`, left === 1);
  },
  serves: async (stage) => (await stage.ask("/feed/a/say/close/1/1", { method: "POST" })).ok,
  recoveryLimitMs: 2000,
};

/** Answers without an end, to clients that take all they can get. */
export const fastStreams: Scenario = {
  name: "fast-streams",
  about: "8 clients that read streamed answers as fast as they come",
  expected: ["200", "lost"],
  floors: ({ size }) => ({ "read, MiB": size(100, 4) }),
  growth: () => ({
    mebibytes: 96,
    because: "8 streams with a chunk of 64 KiB or two, Bun's buffers, and garbage",
  }),
  bystanderP99Ms: 1000,
  async run(stage) {
    const lines = ["GET /files/a/stream/1000000 HTTP/1.1", "Host: load.test"];
    const fast = await stage.attack({ kind: "held", connections: 8, lines, reads: true });
    await fast.done(30_000);
    await Bun.sleep(stage.size(15_000, 500));
    const { figures } = await fast.step("leave");
    stage.figure("read, MiB", (figures.bytesRead ?? 0) / 1024 / 1024);
  },
  serves: async (stage) => (await stage.ask("/files/a")).ok,
  recoveryLimitMs: 2000,
};

/** Answers of 64 MiB that nobody reads. */
export const slowBodies: Scenario = {
  name: "slow-bodies",
  about: "500 streamed answers of 64 MiB each, of which nothing is read",
  expected: ["lost"],
  floors: ({ size }) => ({ "requests open": size(400, 16) }),
  growth: (stage) => ({
    mebibytes: clients(stage) + 64,
    because: `${clients(stage)} streams, of which the host holds a chunk of 64 KiB or two, and Bun's buffer of up to 1 MiB`,
  }),
  bystanderP99Ms: 1000,
  async run(stage) {
    const lines = ["GET /files/a/stream/64 HTTP/1.1", "Host: load.test"];
    const slow = await stage.attack({ kind: "held", connections: clients(stage), lines, reads: false });
    await slow.done(30_000);
    await Bun.sleep(stage.size(10_000, 300));
    stage.figure("requests open", (await stage.host.metrics()).stateful_requests_open ?? 0);
    await slow.step("leave");
  },
  serves: async (stage) => (await stage.ask("/files/a")).ok,
  recoveryLimitMs: 2000,
};
