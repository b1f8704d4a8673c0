import type { Scenario } from "../scenario.ts";

const gibibyte = 1024 ** 3;
const mebibyte = 1024 ** 2;

/** Bodies without an end, and bodies that say how much too long they are, to handlers that read them and to some that do not. */
export const hugeBodies: Scenario = {
  name: "huge-bodies",
  about: "bodies over the class's limit: with a length, without an end, read and unread",
  expected: [
    "413 body_too_large",
    "200",
    "404 not_found",
    "404 unknown_class",
    "426 upgrade_required",
    "lost",
  ],
  floors: ({ size }) => ({ "413 body_too_large": size(6, 2), "sent, MiB": size(100, 4) }),
  // What Bun has read of a connection and nobody has taken is held back there, at some hundred KiB each.
  growth: ({ size }) => ({
    mebibytes: size(96, 64),
    because:
      "48 bodies of which the class takes 1 MiB (bodyBytesMax) and Bun reads ahead well under 1 MiB more",
  }),
  bystanderP99Ms: 1000,
  async run(stage) {
    const forMs = stage.size(15_000, 400);
    const bodies = (line: string, isChunked: boolean) =>
      stage.attack({
        kind: "bodies",
        connections: stage.size(6, 2),
        lines: [`${line} HTTP/1.1`, "Host: load.test"],
        ...{ bytes: stage.size(20 * gibibyte, 64 * mebibyte), isChunked, forMs },
      });
    const attacks = await Promise.all([
      bodies("POST /files/a/read", true),
      bodies("POST /files/a/read", false),
      bodies("POST /files/a/ignored", true),
      bodies("GET /files/a", true),
      bodies("POST /nothing/a", true),
      bodies("POST /-/connect", true),
    ]);
    let sentMiB = 0;
    for (const attack of attacks) sentMiB += (await attack.done(forMs + 20_000)).figures.sentMiB ?? 0;
    stage.figure("sent, MiB", sentMiB);
  },
  serves: async (stage) => (await stage.ask("/files/a/read", { method: "POST", body: "x" })).ok,
  recoveryLimitMs: 2000,
};
