import { configDefaults } from "../../../apps/server/config.ts";
import type { Child } from "../child.ts";
import { costFigure, type Figure, type Measure, type Unit } from "../figure.ts";
import type { Readers, ReadersAnswer, ReadersQuestion } from "../load-readers.ts";
import { rateBytes } from "../servers/classes.ts";
import { memoryOf, type Server, Stage, workOf } from "../stage.ts";

const keepUp = 10;
const stalled = 40;
/** Of 16 KiB each: several times what the kernel takes for a client that does not read. */
const messages = 1500;
/** Published in one request: no more than a reader who keeps up may have waiting. */
const atOnce = 8;
/** For one client. */
const limitBytes = configDefaults.backpressureLimitBytes;

/** What it took to publish all messages to those who keep up, while others do not read. */
interface Turn {
  readonly ms: number;
  /** Of the host, for each message. */
  readonly cpuMicros: number;
  readonly bytesPerStalled: number;
  /** Until those who read again have the latest. */
  readonly latestMs: number;
  readonly heardByStalled: number;
}

/**
 * A publisher that is faster than most of its readers, in a topic that conflates: 10 keep up, 40 read nothing until it is over.
 * Against the same publisher while only those 10 listen.
 */
export const topicConflation: Measure = {
  name: "topic-conflation",
  run: async ({ rounds }) => {
    const pairs: Pair[] = [];
    for (let round = 0; round < rounds; round++) {
      const reference = await turn(0);
      pairs.push({ ours: await turn(stalled), reference });
    }
    return figuresOf(pairs);
  },
};

function turn(stalls: number): Promise<Turn> {
  return Stage.with(async (stage) => {
    const host = await stage.host();
    const readers: Readers = {
      port: host.ready.port,
      path: "/hall/rates/-/topics/rate",
      clients: keepUp + stalls,
    };
    const load = await stage.start<object>("load-readers.ts", readers, "load");
    await publish(host, 0, messages);
    await ask(load, { ask: "heard", number: messages - 1 });
    const memory = await memoryOf(host);
    if (stalls > 0) await ask(load, { ask: "stall", clients: stalls });
    // What the kernel takes for those who do not read is full after that.
    await publish(host, messages, messages);
    await ask(load, { ask: "heard", number: 2 * messages - 1 });
    const last = 3 * messages - 1;
    const [work, startMs] = [await workOf(host), performance.now()];
    await publish(host, 2 * messages, messages);
    const before = await ask(load, { ask: "heard", number: last });
    const [elapsedMs, worked] = [performance.now() - startMs, await workOf(host)];
    const grownBytes = (await memoryOf(host)).residentBytes - memory.residentBytes;
    const after = await ask(load, { ask: "read", number: last });
    return {
      ms: elapsedMs,
      cpuMicros: (worked.cpuMicros - work.cpuMicros) / messages,
      bytesPerStalled: grownBytes / stalls,
      latestMs: after.elapsedMs,
      heardByStalled: (after.heard - before.heard) / stalls,
    };
  });
}

async function publish({ ready: { port } }: Server, from: number, count: number): Promise<void> {
  for (let number = from; number < from + count; number += atOnce) {
    const size = Math.min(atOnce, from + count - number);
    const url = `http://127.0.0.1:${port}/hall/rates/rates/${number}/${size}`;
    const answer = await fetch(url, { method: "POST" });
    if (!answer.ok) throw new Error(`Nothing was published: ${answer.status} ${await answer.text()}`);
  }
}

function ask(load: Child<object>, question: ReadersQuestion): Promise<ReadersAnswer> {
  return load.ask<ReadersAnswer>(question);
}

interface Pair {
  readonly ours: Turn;
  readonly reference: Turn;
}

function figuresOf(pairs: readonly Pair[]): Figure[] {
  const size = `${messages.toLocaleString("en-US")} × ${rateBytes / 1024} KiB`;
  const head = `${size} conflated, ${stalled} of ${stalled + keepUp} do not read`;
  const figure = (what: string, unit: Unit, against: string, values: (pair: Pair) => [number, number]) => ({
    head: { measure: `${head}: ${what}`, unit, against },
    values: pairs.map((pair) => {
      const [ours, reference] = values(pair);
      return { ours, reference };
    }),
  });
  const alone = `the ${keepUp} alone`;
  const untilAll = figure(`until the other ${keepUp} have all`, "ms", alone, ({ ours, reference }) => [
    ours.ms,
    reference.ms,
  ]);
  const cpu = figure("host's CPU per message", "µs", alone, ({ ours, reference }) => [
    ours.cpuMicros,
    reference.cpuMicros,
  ]);
  const bytes = figure("resident per reader behind", "B", "its limit", ({ ours }) => [
    ours.bytesPerStalled,
    limitBytes,
  ]);
  const heard = figure("heard by each behind", "messages", "published", ({ ours }) => [
    ours.heardByStalled,
    2 * messages,
  ]);
  const latest = figure("until those have the latest", "ms", "publishing", ({ ours }) => [
    ours.latestMs,
    ours.ms,
  ]);
  return [
    costFigure({ ...untilAll.head, ratioMax: 1.25 }, untilAll.values),
    costFigure({ ...cpu.head, ratioMax: 1.5 }, cpu.values),
    costFigure({ ...bytes.head, ratioMax: 1 }, bytes.values),
    costFigure(heard.head, heard.values),
    costFigure(latest.head, latest.values),
  ];
}
