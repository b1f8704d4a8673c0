import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { Child } from "../child.ts";
import type { Listeners, ListenersAnswer, ListenersQuestion } from "../load-listeners.ts";
import { type Server, Stage, workOf } from "../stage.ts";

const clients = 1000;
const object = "hall/back";
/** Messages that are published while the edge is gone. */
const missed = 20;
const said = 20;

/** What it takes for all clients to be where they want to be. */
interface Return {
  readonly ms: number;
  /** At the owner, for each client. */
  readonly cpuMicros: number;
  readonly frames: number;
}

/**
 * All clients of a topic come back at once, after their edge has ended and another runs: until each has been told that it has
 * missed nothing and has heard what was said meanwhile. Against the same clients as they came the first time.
 */
export const topicResume: Measure = {
  name: "topic-resume",
  run: ({ rounds }) =>
    Stage.with(async (stage) => {
      const owner = await stage.host();
      const load = await stage.start<object>("load-listeners.ts", listeners, "load");
      const turns: { readonly ours: Return; readonly reference: Return }[] = [];
      // The first is the owner's warm-up.
      for (let round = 0; round <= rounds; round++) turns.push(await turn(stage, owner, load));
      return figuresOf(turns.slice(1));
    }),
};

const listeners: Listeners = { clients, object, topic: "kept" };

async function turn(stage: Stage, owner: Server, load: Child<object>) {
  await load.ask<ListenersAnswer>({ ask: "forget" } satisfies ListenersQuestion);
  const first = await edgeOf(stage);
  const reference = await measured(owner, load, first, 0);
  await say(owner, said);
  await load.ask<ListenersAnswer>({ ask: "heard", each: said } satisfies ListenersQuestion);
  await first.stop();
  await say(owner, missed);
  const second = await edgeOf(stage);
  const ours = await measured(owner, load, second, missed);
  await second.stop();
  return { ours, reference };
}

async function edgeOf(stage: Stage): Promise<Server> {
  const edge = await stage.host({ runsClasses: false });
  await stage.knowsOthers(edge, 1);
  // The way to the owner is open, and its code has run.
  const answer = await fetch(`http://127.0.0.1:${edge.ready.port}/${object}`);
  if (!answer.ok) throw new Error(`The edge does not find the owner: ${answer.status}.`);
  return edge;
}

async function measured(owner: Server, load: Child<object>, edge: Server, messages: number): Promise<Return> {
  const before = await workOf(owner);
  const question: ListenersQuestion = { ask: "connect", port: edge.ready.port, missed: messages };
  const { elapsedMs, recovered } = await load.ask<ListenersAnswer>(question);
  const after = await workOf(owner);
  if (recovered !== (messages > 0 ? clients : 0))
    throw new Error(`${recovered} of ${clients} clients have recovered.`);
  return {
    ms: elapsedMs,
    cpuMicros: (after.cpuMicros - before.cpuMicros) / clients,
    frames: (after.frames - before.frames) / clients,
  };
}

async function say({ ready: { port } }: Server, count: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/${object}/say/kept/${count}`, { method: "POST" });
  if (!answer.ok) throw new Error(`Nothing was published: ${answer.status} ${await answer.text()}`);
}

function figuresOf(turns: readonly { readonly ours: Return; readonly reference: Return }[]): Figure[] {
  const figure = (what: string, kind: keyof Return, unit: Figure["unit"]) =>
    costFigure(
      { measure: `1,000 clients resume, ${missed} missed: ${what}`, unit, against: "coming first" },
      turns.map(({ ours, reference }) => ({ ours: ours[kind], reference: reference[kind] })),
    );
  return [
    figure("until all are whole", "ms", "ms"),
    figure("owner's CPU per client", "cpuMicros", "µs"),
    figure("owner's frames per client", "frames", "frames"),
  ];
}
