import { NamespaceWays } from "./namespace-ways.ts";
import { SwitchWays } from "./switch-ways.ts";

/** Where and how a host process runs, so that its ways to the others can be cut. */
export interface Place {
  readonly address: string;
  readonly runner: readonly string[];
  readonly preload: string | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** A host as the ways know it. */
export interface Stop {
  /** Its place in the stage, from 0. */
  readonly index: number;
  readonly port: number;
}

/**
 * The ways between hosts. What is sent on a way that is cut arrives nowhere and is refused by nobody, as in a network that
 * loses it; once the way is healed, what was sent before goes on, as TCP has it, unless one of the two has hung up.
 *
 * Two hosts have one address each for all others, so no proxy can stand between two of them. Where the machine allows it
 * (Linux, root) every host has a network of its own, and the network loses what it sends to another; elsewhere a file that
 * Bun loads before the host holds back what its links carry, and lets its dials go nowhere.
 */
export interface Ways {
  readonly kind: "namespaces" | "switch";
  /** Where the database is for hosts. */
  readonly primaryAddress: string;
  place(index: number): Promise<Place>;
  /** What `from` sends to `to` is lost from now on, or no longer. */
  set(from: Stop, to: Stop, isCut: boolean): Promise<void>;
  close(): Promise<void>;
}

/** `CONTINUITY_WAYS=namespaces` or `switch` decides; otherwise the first that this machine can do. */
export function openWays(): Promise<Ways> {
  const wanted = process.env.CONTINUITY_WAYS ?? (NamespaceWays.isPossible() ? "namespaces" : "switch");
  return wanted === "namespaces" ? NamespaceWays.open() : SwitchWays.open();
}
