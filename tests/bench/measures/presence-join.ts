import type { Child } from "../child.ts";
import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { LoadAnswer } from "../load-http.ts";
import type { Joins } from "../load-joins.ts";
import type { Listeners, ListenersAnswer, ListenersQuestion } from "../load-listeners.ts";
import { type Server, Stage, workOf } from "../stage.ts";

const few = 10;
const many = [1000, 10_000] as const;
/** Those who come and leave are members, too, and the class lists 10,000 at most. */
const coming = 8;
const warmUpMs = 1500;

/** A topic with members, with one at each edge who is told of the others, and who comes and leaves. */
interface Room {
  readonly joins: Child<object>;
  readonly watchers: readonly Child<object>[];
}

/** For each that comes and leaves. */
interface Cost {
  readonly cpuMicros: number;
  readonly frames: number;
  /** What one edge is told of who is there. */
  readonly told: number;
}

/** What it costs the owner that one comes and leaves, where many are there, against where few are. */
export const presenceJoin: Measure = {
  name: "presence-join",
  run: ({ rounds, seconds }) =>
    Stage.with(async (stage) => {
      const owner = await stage.host();
      const edges = [await stage.host({ runsClasses: false }), await stage.host({ runsClasses: false })];
      for (const edge of edges) await stage.knowsOthers(edge, edges.length);
      await start(owner);
      const figures: Figure[] = [];
      const small = await room(stage, edges, few);
      for (const members of many) {
        const large = await room(stage, edges, members);
        for (const one of [small, large]) await costOf(one, owner, warmUpMs);
        const pairs: { readonly ours: Cost; readonly reference: Cost }[] = [];
        for (let round = 0; round < rounds; round++) {
          const reference = await costOf(small, owner, seconds * 1000);
          pairs.push({ ours: await costOf(large, owner, seconds * 1000), reference });
        }
        figures.push(...figuresOf(members, pairs));
      }
      return figures;
    }),
};

/** Where its classes are, and nowhere else. */
async function start({ ready: { port } }: Server): Promise<void> {
  for (const members of [few, ...many]) {
    const answer = await fetch(`http://127.0.0.1:${port}/${objectOf(members)}`);
    if (!answer.ok) throw new Error(`The object did not start: ${answer.status}.`);
  }
}

function objectOf(members: number): string {
  return `hall/of-${members}`;
}

async function room(stage: Stage, edges: readonly Server[], members: number): Promise<Room> {
  const [edge] = edges;
  if (edge === undefined) throw new Error("There is no edge.");
  const object = objectOf(members);
  const path = `/${object}/-/topics/seats`;
  await stage.socketSide({ kind: "idle", sockets: members - edges.length - coming, path }, edge);
  const listeners: Listeners = { clients: 1, object, topic: "seats", presence: true };
  const watchers: Child<object>[] = [];
  for (const { ready } of edges) {
    const watcher = await stage.start<object>("load-listeners.ts", listeners, "load");
    await ask(watcher, { ask: "connect", port: ready.port, missed: 0 });
    watchers.push(watcher);
  }
  const setup: Joins = { port: edge.ready.port, path };
  return { watchers, joins: await stage.start<object>("load-joins.ts", setup, "load") };
}

async function costOf({ joins, watchers }: Room, owner: Server, forMs: number): Promise<Cost> {
  for (const watcher of watchers) await ask(watcher, { ask: "presence" });
  const before = await workOf(owner);
  const { operations } = await joins.ask<LoadAnswer>({ forMs });
  const after = await workOf(owner);
  let told = 0;
  for (const watcher of watchers) told += (await ask(watcher, { ask: "presence" })).presence;
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / operations,
    frames: (after.frames - before.frames) / operations,
    told: told / watchers.length / operations,
  };
}

function ask(child: Child<object>, question: ListenersQuestion): Promise<ListenersAnswer> {
  return child.ask<ListenersAnswer>(question);
}

function figuresOf(
  members: number,
  pairs: readonly { readonly ours: Cost; readonly reference: Cost }[],
): Figure[] {
  const figure = (what: string, kind: keyof Cost, unit: Figure["unit"], ratioMax?: number) =>
    costFigure(
      {
        ...{ measure: `join and leave, ${members.toLocaleString("en-US")} members: ${what}`, unit },
        ...{ against: `with ${few}`, ...(ratioMax !== undefined && { ratioMax }) },
      },
      pairs.map(({ ours, reference }) => ({ ours: ours[kind], reference: reference[kind] })),
    );
  return [
    figure("owner's CPU", "cpuMicros", "µs", 1.5),
    figure("owner's frames", "frames", "frames"),
    figure("of them presence, per edge", "told", "frames"),
  ];
}
