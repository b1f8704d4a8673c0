import { object } from "stateful-objects";
import { configFromEnvironment, type RunningHost, startHost } from "../../apps/server/index.ts";

/**
 * A host in a process of its own, so that its memory is its own: large bodies go in and come out of its objects at the
 * pace that the test asks for. `byte-host-process.ts` is the other end.
 */
export type ByteHostQuestion =
  | { readonly ask: "count" }
  /** Readers and writers wait, from the next request on, until `release`. */
  | { readonly ask: "hold" }
  | { readonly ask: "release" }
  /** This host believes that the object is in that region. */
  | { readonly ask: "mislead"; readonly key: string; readonly region: string };

export interface ByteHostAnswer {
  readonly hosts: number;
  readonly rssBytes: number;
  /** The largest since the last `hold`. */
  readonly peakRssBytes: number;
  readonly bytesRead: number;
  readonly bytesMade: number;
}

const pieceBytes = 64 * 1024;
const sampleIntervalMs = 5;

class Tally {
  bytesRead = 0;
  bytesMade = 0;
  peakRssBytes = 0;
  gate = Promise.withResolvers<void>();

  constructor() {
    this.gate.resolve();
    setInterval(() => this.sample(), sampleIntervalMs);
  }
  sample(): number {
    const rssBytes = process.memoryUsage.rss();
    this.peakRssBytes = Math.max(this.peakRssBytes, rssBytes);
    return rssBytes;
  }
  hold(): void {
    Object.assign(this, { bytesRead: 0, bytesMade: 0, gate: Promise.withResolvers<void>() });
    Bun.gc(true);
    this.peakRssBytes = 0;
    this.sample();
  }
}

const tally = new Tally();

export const bytes = object("bytes", {
  placement: { regions: ["ams"] },
  limits: { bodyBytesMax: 4 * 1024 * 1024 * 1024 },
})
  .post(
    "/",
    async ({ request, host }) => {
      await tally.gate.promise;
      for await (const chunk of request.body ?? []) tally.bytesRead += chunk.length;
      return { bytesRead: tally.bytesRead, host: host.id };
    },
    { parse: "none" },
  )
  .get("/:pieces", ({ params }) => {
    let left = Number(params.pieces);
    return new Response(
      new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            if (left-- === 0) return controller.close();
            tally.bytesMade += pieceBytes;
            controller.enqueue(new Uint8Array(pieceBytes));
          },
        },
        { highWaterMark: 0 },
      ),
    );
  });

function answer(host: RunningHost, question: ByteHostQuestion): ByteHostAnswer {
  const { leases, routes } = host.parts;
  if (question.ask === "hold") tally.hold();
  if (question.ask === "release") tally.gate.resolve();
  if (question.ask === "mislead") {
    const wrong = leases.hosts.find(({ region }) => region === question.region);
    if (wrong === undefined) throw new Error(`No host in ${question.region} is known.`);
    routes.put(question.key, { session: wrong.session, epoch: Number.MAX_SAFE_INTEGER });
  }
  const { bytesRead, bytesMade } = tally;
  const rssBytes = tally.sample();
  return { hosts: leases.hosts.length, rssBytes, peakRssBytes: tally.peakRssBytes, bytesRead, bytesMade };
}

if (import.meta.main) {
  const host = await startHost(configFromEnvironment(process.env), { classes: [bytes] });
  process.on("message", (question: ByteHostQuestion) => process.send?.(answer(host, question)));
  process.on("disconnect", () => process.exit(0)); // The test has ended, in whatever way.
  process.send?.(host.port);
}
