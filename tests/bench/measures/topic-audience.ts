import type { Child } from "../child.ts";
import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { Listeners, ListenersAnswer, ListenersQuestion } from "../load-listeners.ts";
import { memoryOf, type Server, Stage, workOf } from "../stage.ts";

const edgesCount = 3;
const few = 20;
const many = 20_000;
const messages = 20;
/** Readings of a side in a round. */
const roundsMax = 5;

/** All who listen to one object's topic, a third of them at each edge. */
interface Crowd {
  readonly object: string;
  readonly parts: readonly Child<object>[];
  said: number;
}

/** For each message. */
interface Cost {
  readonly cpuMicros: number;
  readonly frames: number;
  /** Until the last has heard it. */
  readonly ms: number;
}

/** One message to 20,000 subscribers on connections for many, at three edges, against one to 20. */
export const topicAudience: Measure = {
  name: "topic-audience",
  run: ({ rounds }) =>
    Stage.with(async (stage) => {
      const owner = await stage.host();
      const edges: Server[] = [];
      for (let count = 0; count < edgesCount; count++) edges.push(await stage.host({ runsClasses: false }));
      for (const edge of edges) await stage.knowsOthers(edge, edgesCount);
      const small = await crowd(stage, owner, edges, few);
      const before = await bytesOf(edges);
      const large = await crowd(stage, owner, edges, many);
      const perSubscriber = ((await bytesOf(edges)) - before) / many;
      for (const one of [small, large]) await costOf(one, owner);
      const pairs: { readonly ours: Cost; readonly reference: Cost }[] = [];
      for (let round = 0; round < Math.min(rounds, roundsMax); round++) {
        const reference = await costOf(small, owner);
        pairs.push({ ours: await costOf(large, owner), reference });
      }
      return [...figuresOf(pairs), memoryFigure(perSubscriber, await plainBytes())];
    }),
};

async function crowd(stage: Stage, owner: Server, edges: readonly Server[], clients: number): Promise<Crowd> {
  const object = `hall/of-${clients}`;
  await post(owner, `/${object}/say/live/1`);
  const parts: Child<object>[] = [];
  for (const [index, { ready }] of edges.entries()) {
    const share = Math.floor(clients / edgesCount) + (index < clients % edgesCount ? 1 : 0);
    const listeners: Listeners = { clients: share, object, topic: "live" };
    const part = await stage.start<object>("load-listeners.ts", listeners, "load");
    await part.ask<ListenersAnswer>({
      ask: "connect",
      port: ready.port,
      missed: 0,
    } satisfies ListenersQuestion);
    parts.push(part);
  }
  return { object, parts, said: 0 };
}

/**
 * The owner's work for some messages in a row, until it has sent them and answered: what edges do with them takes longer the more
 * listen, and the owner's own heartbeat goes on meanwhile. Then the time for one, while nothing else is under way.
 */
async function costOf(crowd: Crowd, owner: Server): Promise<Cost> {
  const before = await workOf(owner);
  for (let count = 0; count < messages; count++) await say(crowd, owner);
  const after = await workOf(owner);
  await heard(crowd);
  const startMs = performance.now();
  await say(crowd, owner);
  await heard(crowd);
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / messages,
    frames: (after.frames - before.frames) / messages,
    ms: performance.now() - startMs,
  };
}

async function say(crowd: Crowd, owner: Server): Promise<void> {
  crowd.said += 1;
  await post(owner, `/${crowd.object}/say/live/1`);
}

/** Until all have heard all. */
async function heard({ parts, said }: Crowd): Promise<void> {
  const question: ListenersQuestion = { ask: "heard", each: said };
  await Promise.all(parts.map((part) => part.ask<ListenersAnswer>(question)));
}

async function bytesOf(edges: readonly Server[]): Promise<number> {
  let bytes = 0;
  for (const edge of edges) bytes += (await memoryOf(edge)).residentBytes;
  return bytes;
}

/** Of an idle WebSocket in plain Bun. */
function plainBytes(): Promise<number> {
  const sockets = Math.floor(many / edgesCount);
  return Stage.with(async (stage) => {
    const server = await stage.plainBun();
    const before = await memoryOf(server);
    await stage.socketSide({ kind: "idle", sockets, path: "/room/lobby/live" }, server);
    return ((await memoryOf(server)).residentBytes - before.residentBytes) / sockets;
  });
}

async function post({ ready: { port } }: Server, path: string): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST" });
  if (!answer.ok) throw new Error(`Nothing was published: ${answer.status} ${await answer.text()}`);
}

function figuresOf(pairs: readonly { readonly ours: Cost; readonly reference: Cost }[]): Figure[] {
  const figure = (what: string, kind: keyof Cost, unit: Figure["unit"], ratioMax?: number) =>
    costFigure(
      {
        ...{ measure: `a message to 20,000 at ${edgesCount} edges: ${what}`, unit, against: `to ${few}` },
        ...(ratioMax !== undefined && { ratioMax }),
      },
      pairs.map(({ ours, reference }) => ({ ours: ours[kind], reference: reference[kind] })),
    );
  return [
    figure("owner's CPU", "cpuMicros", "µs", 1.5),
    figure("owner's frames", "frames", "frames", 1.1),
    figure("until all have heard", "ms", "ms"),
  ];
}

function memoryFigure(ours: number, reference: number): Figure {
  const head = { measure: "a framed subscriber at its edge, resident", unit: "B", against: "Bun" } as const;
  return costFigure(head, [{ ours, reference }]);
}
