import { expect } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { built } from "./built.ts";
import type { CallAllowance } from "./calls-check.ts";
import type { AllowedClosing, Allowance } from "./conversation.ts";
import { Load, type LoadReport, tell } from "./load.ts";
import { leaveStage, takeStage } from "./kept-stage.ts";
import type { Stage, StageOptions } from "./stage.ts";

export interface ScenarioPlan extends StageOptions {
  readonly name: string;
  readonly seed: number;
  /** `/talk/x`, which is numbered; its first owner is the stage's host 0. */
  readonly object: string;
  readonly clients?: number;
  readonly callers?: number;
}

export interface Scene {
  readonly stage: Stage;
  readonly load: Load;
  readonly object: string;
  /** Who owns the object as the scene begins. */
  readonly owner: HostProcess;
  readonly random: SeededRandom;
}

/** What the fault may do, known once it has happened. */
export interface Verdict {
  readonly talk: Allowance;
  readonly calls: CallAllowance;
}

let objects = 0;

/**
 * A stage, an object with an owner, and a load on it that runs before, during and after what `play` does; then everybody
 * compares notes, and what `play` does not allow fails the test. Its file calls `endStage` after all.
 */
export async function scenario(
  plan: ScenarioPlan,
  play: (scene: Scene) => Promise<Verdict>,
): Promise<LoadReport> {
  const { name, seed } = plan;
  const object = `${plan.object}${objects++}`;
  const random = new SeededRandom(seed);
  const stage = await takeStage(plan);
  let load: Load | undefined;
  let hasPassed = false;
  try {
    const owner = stage.host(0);
    await stage.startAt(owner, object);
    const { clients, callers } = plan;
    load = await Load.start(stage, {
      ...{ object, random: random.fork() },
      ...(clients === undefined ? {} : { clients }),
      ...(callers === undefined ? {} : { callers }),
    });
    const verdict = await play({ stage, load, object, owner, random });
    await load.goesOn();
    const report = await load.finish(verdict.talk, verdict.calls);
    expect(tell(name, seed, report)).toEqual([]);
    hasPassed = true;
    return report;
  } catch (error) {
    console.log(`continuity: ${name}: seed ${seed}; replay with CONTINUITY_SEED=${seed}`);
    if (process.env.CONTINUITY_LOGS)
      for (const { entries } of stage.hosts) for (const entry of entries) console.log(JSON.stringify(entry));
    throw error;
  } finally {
    await load?.stop();
    if (hasPassed) leaveStage(plan, stage);
    else await stage.close();
  }
}

/** No failure over HTTP, and nothing that was counted is forgotten. */
export const noFailures: CallAllowance = { failures: [], mayForget: false };
/** Any failure, and nothing that was acknowledged is forgotten. */
export const someFailures: CallAllowance = { failures: "any", mayForget: false };
/** Any failure; what was counted was in the memory of a process that is gone. */
export const someForgotten: CallAllowance = { failures: "any", mayForget: true };

/** Of process `edge`, which was killed: its clients see their connections break. */
export function broken(edge: string): AllowedClosing {
  return { edge, codes: [1006] };
}

/**
 * The sockets that the loss of an owner may close at other edges: none once they are attached to the next owner; until that
 * is built, all of them.
 */
export function closedWithOwner(): AllowedClosing[] {
  return built.reattach ? [] : [{ edge: "any", codes: [1006, 1012, 1013] }];
}
