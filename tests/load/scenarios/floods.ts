import type { Scenario } from "../scenario.ts";

/** Clients that say more than their object hears. */
export const messageFlood: Scenario = {
  name: "message-flood",
  about: "8 clients that send as fast as they can, to a slow handler, to a quick one, and to a topic",
  expected: ["101", "close 1013", "lost", "close 4408"],
  floors: ({ size }) => ({
    "101": size(8, 3),
    "quick: sent": size(10_000, 500),
    "quick: heard": size(1000, 50),
  }),
  growth: () => ({
    mebibytes: 192,
    because:
      "8 sockets with 1 MiB or 4,096 messages (socketInflightBytesMax), Bun's read buffers, and 128 MiB of garbage",
  }),
  bystanderP99Ms: 2000,
  async run(stage) {
    const flood = (path: string, sockets: number, message: string) =>
      stage.attack({ kind: "sockets", sockets, path, reads: "always", floods: true, message });
    const attacks = await Promise.all([
      flood("/hearer/slow/slow", stage.size(4, 1), "x".repeat(1000)),
      flood("/hearer/quick/quick", stage.size(2, 1), "x".repeat(100)),
      flood("/hearer/talk/-/topics/talk", stage.size(2, 1), "x".repeat(1000)),
    ]);
    await Bun.sleep(stage.size(20_000, 800));
    for (const [index, attack] of attacks.entries()) {
      const { figures } = await attack.report();
      stage.figure(`${["slow", "quick", "talk"][index]}: sent`, figures.sent ?? 0);
      stage.figure(`${["slow", "quick", "talk"][index]}: open`, figures.open ?? 0);
    }
    const { heard } = (await (await stage.ask("/hearer/quick")).json()) as { heard: number }; // what hearer.ts answers
    stage.figure("quick: heard", heard);
  },
  serves: async (stage) => {
    const answers = await Promise.all(["slow", "quick", "talk"].map((id) => stage.ask(`/hearer/${id}`)));
    return answers.every(({ ok }) => ok);
  },
  recoveryLimitMs: 5000,
};
