import { SeededRandom } from "../support/seeded-random.ts";
import type { WorldSettings } from "./world/world.ts";

/** Of all runs. */
const alarmsShare = 0.35;

/** The settings of a seed. */
export function settingsOf(seed: number): WorldSettings {
  const random = new SeededRandom(seed);
  return {
    seed,
    hosts: random.between(3, 4),
    leaseTtlMs: random.pick([3_000, 6_000, 9_000]),
    heartbeatMs: random.pick([500, 1_000, 2_000]),
    hasReplica: random.isLucky(0.3),
    ...weatherOf(random.next()),
    endsDark: random.isLucky(0.4),
    // By a chance of its own, so that nothing else of a seed depends on it.
    hasAlarms: new SeededRandom(seed ^ 0xa1a4).isLucky(alarmsShare),
  };
}

function weatherOf(share: number): Pick<WorldSettings, "beyondBounds" | "isGentle"> {
  return { beyondBounds: share < 0.1, isGentle: share > 0.8 };
}
