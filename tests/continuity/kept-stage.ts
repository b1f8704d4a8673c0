import { Stage, type StageOptions } from "./stage.ts";

/** The stage of the last scenario, for the next one of the same kind. */
let kept: { readonly kind: string; readonly stage: Stage } | undefined;

/**
 * A stage whose hosts are all up. Those of the last scenario go on where that has passed: a cluster outlives its faults, and three
 * processes take longer to start than many a scenario.
 */
export async function takeStage(options: StageOptions): Promise<Stage> {
  const found = kept;
  kept = undefined;
  if (found?.kind !== kindOf(options)) {
    await found?.stage.close();
    return Stage.open(options);
  }
  try {
    await found.stage.gather();
    return found.stage;
  } catch (error) {
    await found.stage.close();
    throw error;
  }
}

/** After a scenario that has passed. Who leaves a stage calls `endStage` once no scenario follows. */
export function leaveStage(options: StageOptions, stage: Stage): void {
  kept = { kind: kindOf(options), stage };
}

export async function endStage(): Promise<void> {
  await kept?.stage.close();
  kept = undefined;
}

function kindOf({ hosts, leaseTtlMs, objectsFolder, tree, env, cutsWays }: StageOptions): string {
  return JSON.stringify([hosts, leaseTtlMs, objectsFolder, tree, env, cutsWays]);
}
