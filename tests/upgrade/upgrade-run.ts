import { nothingMayHappen, plannedMove } from "../continuity/conversation.ts";
import { Load, tell } from "../continuity/load.ts";
import { broken, noFailures, someFailures, type Verdict } from "../continuity/scenario.ts";
import { ask, Stage } from "../continuity/stage.ts";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom } from "../support/seeded-random.ts";

export interface UpgradePlan {
  readonly seed: number;
  readonly clients: number;
  /** Answers that everybody is to have in a phase in which nothing happens. */
  readonly answers: number;
  /** Root of the tree that is deployed; undefined for this one. */
  readonly from: string | undefined;
  /** Root of the tree that comes. */
  readonly to: string | undefined;
}

interface Round {
  readonly stage: Stage;
  readonly load: Load;
  readonly object: string;
  readonly plan: UpgradePlan;
}

interface Phase {
  readonly name: string;
  play(round: Round): Promise<Verdict>;
}

const hostsCount = 3;
/** Of the author's code, as a deployment sets it: what came later is newer. */
const versions = { from: "1", to: "2" } as const;
const quiet: Verdict = { talk: nothingMayHappen, calls: noFailures };

/** Drains one host after the other, and has it start again with the other release. */
async function deploy(round: Round, side: "from" | "to", indices: readonly number[]): Promise<Verdict> {
  const { stage, load } = round;
  const gone: string[] = [];
  for (const index of indices) {
    const host = stage.host(index);
    gone.push(host.id);
    await stage.drain(host);
    await load.goesOn();
    become(host, round.plan, side);
    await stage.restart(host, "new port");
    await stage.allKnowAll();
    await load.goesOn();
  }
  return { talk: plannedMove(gone), calls: noFailures };
}

/**
 * The same towards the earlier release, to whose hosts nothing moves (P10): an object stops at each, and starts again at the next.
 * What was on its way to it in that moment may be lost, in one piece; what it has stored and what was counted is not.
 */
async function takeBack(round: Round): Promise<Verdict> {
  const { talk, calls } = await deploy(round, "from", [0, 1, 2]);
  return { talk: { ...talk, unansweredGapsMax: hostsCount, topicGapsMax: hostsCount }, calls };
}

function become(host: HostProcess, plan: UpgradePlan, side: "from" | "to"): void {
  const tree = plan[side];
  const env = { ...host.options.env, STATEFUL_VERSION: versions[side] };
  const { tree: _, ...options } = host.options;
  host.become({ ...options, env, ...(tree === undefined ? {} : { tree }) });
}

/** The object's owner dies without a word, and a host of the same release takes its place. */
async function kill({ stage, load, object }: Round): Promise<Verdict> {
  const host = await stage.owner(object);
  const { id } = host;
  await host.kill();
  await load.goesOn();
  await stage.restart(host, "new port");
  await load.goesOn();
  return {
    talk: { ...plannedMove(), unansweredGapsMax: 1, topicGapsMax: 1, closings: [broken(id)] },
    calls: someFailures,
  };
}

/** Has the object at a host of the other release, with edges of both. */
async function moveTo({ stage, load, object, plan }: Round, index: number): Promise<Verdict> {
  const { status, detail } = await stage.move(object, stage.host(index));
  const isThere = (await stage.owner(object)).id === stage.host(index).id;
  if (status !== 200 && !isThere) throw new Error(`The move was answered with ${status}: ${detail}.`);
  await load.goesOn(plan.answers);
  return quiet;
}

async function goOn({ load, plan }: Round): Promise<Verdict> {
  await load.goesOn(plan.answers);
  return quiet;
}

const phases: readonly Phase[] = [
  { name: "before", play: goOn },
  { name: "the first host of the new release", play: (round) => deploy(round, "to", [0]) },
  { name: "both releases, the owner of the new", play: (round) => moveTo(round, 0) },
  { name: "both releases, the owner is killed", play: kill },
  { name: "the rest of the new release", play: (round) => deploy(round, "to", [1, 2]) },
  { name: "the new release", play: goOn },
  { name: "taken back", play: takeBack },
  { name: "after", play: goOn },
];

/**
 * A rolling deploy from one release to another and back, hosts in processes of their own, under clients who talk over sockets and
 * callers who count over HTTP. Each phase has an object of its own. Resolves with how many phases went wrong.
 */
export async function runUpgrade(plan: UpgradePlan): Promise<number> {
  const random = new SeededRandom(plan.seed);
  const { from } = plan;
  const env = { STATEFUL_VERSION: versions.from };
  const stage = await Stage.open({ hosts: hostsCount, env, ...(from === undefined ? {} : { tree: from }) });
  let wrong = 0;
  try {
    for (const [number, phase] of phases.entries())
      if (!(await playPhase(stage, plan, phase, number, random.fork()))) wrong += 1;
  } finally {
    await stage.close();
  }
  return wrong;
}

async function playPhase(
  stage: Stage,
  plan: UpgradePlan,
  { name, play }: Phase,
  number: number,
  random: SeededRandom,
): Promise<boolean> {
  const object = `/talk-durable/phase${number}`;
  await stage.allKnowAll();
  await ask(stage.host(random.between(0, hostsCount - 1)), object);
  const load = await Load.start(stage, { object, clients: plan.clients, random: random.fork() });
  try {
    const { talk, calls } = await play({ stage, load, object, plan });
    await load.goesOn();
    return tell(name, plan.seed, await load.finish(talk, calls)).length === 0;
  } catch (error) {
    console.log(`continuity: ${name}: ${error}`);
    return false;
  } finally {
    await load.stop();
  }
}
