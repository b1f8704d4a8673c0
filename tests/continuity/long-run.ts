import { SeededRandom } from "../support/seeded-random.ts";
import type { AllowedClosing } from "./conversation.ts";
import { crash, nothingMayHappen, plannedMove } from "./conversation.ts";
import { Load, tell } from "./load.ts";
import { broken, closedWithOwner, noFailures, someFailures, type Verdict } from "./scenario.ts";
import { ask, leaseTtlMs, Stage } from "./stage.ts";

export interface LongPlan {
  readonly seconds: number;
  readonly hosts: number;
  readonly clients: number;
  readonly seed: number;
  readonly faults: readonly FaultName[];
}

interface Round {
  readonly stage: Stage;
  readonly load: Load;
  readonly object: string;
  readonly random: SeededRandom;
}

/** Does its harm, and its repair; resolves with what it may have done to the conversation. */
type Fault = (round: Round) => Promise<Verdict>;

const faults = {
  none: async () => ({ talk: nothingMayHappen, calls: noFailures }),
  move: async ({ stage, load, object, random }) => {
    for (let n = 0; n < 5; n += 1) {
      const to = random.pick(stage.others(await stage.owner(object)));
      const { status, code } = await stage.move(object, to, random.pick(stage.hosts));
      if (status !== 200) throw new Error(`A move to ${to.id} was answered with ${status} ${code}.`);
      await load.goesOn(2);
    }
    return { talk: plannedMove(), calls: noFailures };
  },
  drain: async ({ stage, load, random }) => {
    const host = random.pick(stage.hosts);
    const { id } = host;
    await stage.drain(host, random.pick(["SIGTERM", "SIGINT"] as const));
    await load.goesOn();
    await stage.restart(host, "new port");
    return { talk: plannedMove([id]), calls: noFailures };
  },
  kill: async ({ stage, load, random }) => {
    const host = random.pick(stage.hosts);
    const { id } = host;
    await host.kill();
    await load.goesOn();
    await stage.restart(host, random.pick(["same port", "new port"] as const));
    return harm(1, [broken(id)]);
  },
  "kill all": async ({ stage, random }) => {
    const gone = stage.hosts.map(({ id }) => broken(id));
    await Promise.all(stage.hosts.map((host) => host.kill()));
    const port = random.pick(["same port", "new port"] as const);
    await Promise.all(stage.hosts.map((host) => stage.restart(host, port)));
    return harm(1, gone);
  },
  freeze: async ({ stage, random }) => {
    const host = random.pick(stage.hosts);
    host.freeze();
    await Bun.sleep(random.between(leaseTtlMs / 4, leaseTtlMs * 3)); // how long, by the seed
    host.thaw();
    return harm(2, []);
  },
  cut: async ({ stage, random }) => {
    const host = random.pick(stage.hosts);
    const other = random.pick(stage.others(host));
    const direction = random.pick(["both", "a to b"] as const);
    await stage.cut(host, other, direction);
    await Bun.sleep(random.between(1_000, 12_000)); // how long, by the seed
    await stage.heal(host, other, direction);
    return harm(2, []);
  },
  primary: async ({ stage: { sqld }, random }) => {
    const isKill = random.isLucky(0.5);
    if (isKill) await sqld.kill();
    else sqld.freeze();
    await Bun.sleep(random.between(leaseTtlMs / 4, leaseTtlMs * 3)); // how long, by the seed
    if (isKill) await sqld.run();
    else sqld.thaw();
    return harm(2, []);
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof faults;
// The keys of a literal are exactly its names; Object.keys widens them to string.
export const faultNames = Object.keys(faults) as readonly FaultName[];

function harm(gaps: number, closings: readonly AllowedClosing[]): Verdict {
  return { talk: crash(gaps, 1, [...closings, ...closedWithOwner()]), calls: someFailures };
}

/**
 * One stage, and rounds on it: an object of their own, a load, a fault, and the comparison. Each round's records are let go
 * with it, so a run may take days. Resolves with how many rounds went wrong.
 */
export async function runLong(plan: LongPlan): Promise<number> {
  const random = new SeededRandom(plan.seed);
  const endsAtMs = performance.now() + plan.seconds * 1_000;
  const stage = await Stage.open({ hosts: plan.hosts, cutsWays: plan.faults.includes("cut") });
  let wrong = 0;
  try {
    for (let number = 1; performance.now() < endsAtMs; number += 1) {
      const name = random.pick(plan.faults);
      const lines = await playRound(stage, plan, name, number, random.fork());
      if (lines.length > 0) wrong += 1;
    }
  } finally {
    await stage.close();
  }
  return wrong;
}

async function playRound(
  stage: Stage,
  { clients, seed }: LongPlan,
  name: FaultName,
  number: number,
  random: SeededRandom,
): Promise<string[]> {
  const object = `/talk-durable/r${number}`;
  await stage.allKnowAll();
  await ask(random.pick(stage.hosts), object);
  const load = await Load.start(stage, { object, clients, random: random.fork() });
  try {
    const { talk, calls } = await faults[name]({ stage, load, object, random });
    await load.goesOn();
    return tell(`round ${number}, ${name}`, seed, await load.finish(talk, calls));
  } finally {
    await load.stop();
  }
}
