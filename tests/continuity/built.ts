import { test } from "bun:test";

/**
 * What the scenarios need and the machinery has: set one to true, and its scenarios are run. `CONTINUITY_BUILT=moves,sleep`
 * does the same for one run.
 */
export const built = {
  /** `POST /-/objects/…/move`, drain that moves objects away, sockets that stay open meanwhile. */
  moves: true,
  /** Sockets that stay open at their edge when their object's owner is lost. */
  reattach: true,
  /** Objects that sleep with open sockets. */
  sleep: true,
  /** Hosts that cannot reach each other and go through a third one. */
  relay: true,
  /** Histories of topics that outlive their owner, where the class says `durability: "storage"`. */
  durableHistory: true,
};

for (const need of (process.env.CONTINUITY_BUILT ?? "").split(",")) if (isNeed(need)) built[need] = true;

function isNeed(text: string): text is keyof typeof built {
  return Object.hasOwn(built, text);
}

/** A test that is skipped, and says so by its name, until all that it needs is there. */
export function whenBuilt(...needs: readonly (keyof typeof built)[]): typeof test {
  return needs.every((need) => built[need]) ? test : (test.skip as typeof test); // called as a test only
}
