import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { SocketLoad } from "../load-sockets.ts";
import type { Memory } from "../memory.ts";
import { medianOf, type Side } from "../pace.ts";
import { healthOf, memoryOf, type Server, Stage } from "../stage.ts";

const few = 1000;
const many = 10_000;
/** What a socket may add to its sleeping owner, so that what is left of the object is a constant for each edge. */
const growthBytesMax = 8;
/** Few, many, few, … with as many readings of each. */
const turnsPerRound = 3;
const awakeMs = 100;
const roundsMax = 3;
const asleepLimitMs = 30_000;
const path = "/sleepy/a/live";
const kinds = ["heapBytes", "residentBytes"] as const;

interface Pair {
  readonly ours: number;
  readonly reference: number;
}

/** One round. Memory is in bytes for each socket. */
interface Round {
  readonly asleep: Memory;
  readonly awake: Memory;
  readonly edge: Memory;
  readonly bun: Memory;
  /** From a message to its answer. */
  readonly wakes: readonly Pair[];
}

/** What idle sockets cost at their edge, and at an owner on another host that sleeps meanwhile; and what waking it takes. */
export const sleepingSockets: Measure = {
  name: "sleeping-sockets",
  async run({ rounds }) {
    const taken: Round[] = [];
    for (let round = 0; round < Math.min(rounds, roundsMax); round++)
      taken.push({ ...(await asleep()), awake: await awake(), bun: await plainBun() });
    return [...kinds.flatMap((kind) => memoryFigures(kind, taken)), wakeFigure(taken)];
  },
};

/**
 * Compiled code comes and goes by itself, a megabyte of it after the first connections, and so do pages. So the owner is
 * looked at with few sockets and with many in turn, and what many make more is compared with the turns on both sides.
 */
function asleep(): Promise<Pick<Round, "asleep" | "edge" | "wakes">> {
  return Stage.with(async (stage) => {
    const { edge, owner } = await stage.edgeAndOwner();
    await comeAndGo("/sleepy/warm-up/live", edge, () => sleeps(owner));
    const edgeBefore = await memoryOf(edge);
    const speaker = await stage.socketSide({ kind: "echo", sockets: 1, path }, edge);
    await stage.socketSide(idle(path, few - 1), edge);
    let edgeAfter = edgeBefore;
    const wakes: Pair[] = [];
    const growths: Memory[] = [];
    let before = await wokenAndAsleep(speaker, owner);
    for (let turn = 0; turn < turnsPerRound; turn++) {
      const during = await Stage.with(async (others) => {
        await others.socketSide(idle(path, many - few), edge);
        const seen = await wokenAndAsleep(speaker, owner);
        if (turn === 0) edgeAfter = await memoryOf(edge);
        return seen;
      });
      wakes.push(during.wake);
      const after = await wokenAndAsleep(speaker, owner);
      growths.push(perSocket(halfWay(before.memory, after.memory), during.memory, many - few));
      before = after;
    }
    return { asleep: medianMemory(growths), edge: perSocket(edgeBefore, edgeAfter, many), wakes };
  });
}

async function wokenAndAsleep(speaker: Side, owner: Server) {
  await sleeps(owner);
  // Of no length: the first answer, which takes longer, is the last.
  const ours = await answerMs(speaker, 0);
  const wake: Pair = { ours, reference: await answerMs(speaker, awakeMs) };
  await sleeps(owner);
  return { wake, memory: await memoryOf(owner) };
}

async function answerMs(speaker: Side, forMs: number): Promise<number> {
  const { operations, elapsedMs } = await speaker.slice(forMs);
  return elapsedMs / operations;
}

/** The owner of a class that does not sleep so soon. */
function awake(): Promise<Memory> {
  return Stage.with(async (stage) => {
    const { edge, owner } = await stage.edgeAndOwner();
    return growthOf(stage, owner, edge, "/echo/a/live");
  });
}

function plainBun(): Promise<Memory> {
  return Stage.with(async (stage) => {
    const server = await stage.plainBun();
    return growthOf(stage, server, server, path);
  });
}

async function growthOf(stage: Stage, of: Server, edge: Server, path: string): Promise<Memory> {
  await comeAndGo(path, edge);
  const before = await memoryOf(of);
  await stage.socketSide(idle(path, many), edge);
  return perSocket(before, await memoryOf(of), many);
}

/** What the first connections make a host allocate for good is no part of what is counted. */
function comeAndGo(path: string, edge: Server, meanwhile?: () => Promise<void>): Promise<void> {
  return Stage.with(async (stage) => {
    await stage.socketSide(idle(path, many), edge);
    await meanwhile?.();
  });
}

function idle(path: string, sockets: number): Omit<SocketLoad, "port"> {
  return { kind: "idle", sockets, path };
}

async function sleeps(owner: Server): Promise<void> {
  const limitMs = performance.now() + asleepLimitMs;
  while ((await healthOf(owner)).objects > 0) {
    if (performance.now() > limitMs) throw new Error("The object does not fall asleep.");
    await Bun.sleep(50);
  }
}

function memory(of: (kind: keyof Memory) => number): Memory {
  return { heapBytes: of("heapBytes"), residentBytes: of("residentBytes") };
}

function halfWay(a: Memory, b: Memory): Memory {
  return memory((kind) => (a[kind] + b[kind]) / 2);
}

function medianMemory(all: readonly Memory[]): Memory {
  return memory((kind) => medianOf(all.map((one) => one[kind])));
}

function perSocket(before: Memory, after: Memory, sockets: number): Memory {
  return memory((kind) => (after[kind] - before[kind]) / sockets);
}

function memoryFigures(kind: keyof Memory, rounds: readonly Round[]): Figure[] {
  const name = kind === "heapBytes" ? "heap" : "resident";
  const figure = (what: string, against: string, pairOf: (round: Round) => Pair, ratioMax?: number) => {
    const head = { measure: `${what}, ${name}`, unit: "B", against } as const;
    return costFigure({ ...head, ...(ratioMax !== undefined && { ratioMax }) }, rounds.map(pairOf));
  };
  const owner = "a socket more at a sleeping owner";
  // Pages that were used once stay resident: whether they hold anything is what the heap tells.
  const goal = kind === "heapBytes" ? 1 : undefined;
  const atEdge = figure("an idle socket at its edge", "Bun", ({ edge, bun }) => ({
    ours: edge[kind],
    reference: bun[kind],
  }));
  return [
    figure(owner, "to be met", ({ asleep }) => ({ ours: asleep[kind], reference: growthBytesMax }), goal),
    figure(owner, "awake", ({ asleep, awake }) => ({ ours: asleep[kind], reference: awake[kind] })),
    { ...atEdge, measure: `${atEdge.measure} (+${Math.round(atEdge.ours - atEdge.reference)} B)` },
  ];
}

function wakeFigure(rounds: readonly Round[]): Figure {
  const head = { measure: "answer that wakes 10,000 sockets", unit: "ms", against: "awake" } as const;
  return costFigure(
    head,
    rounds.flatMap(({ wakes }) => wakes),
  );
}
