/** What a check has seen that must never be. Each check has a kind of its own. */
export interface Violation {
  readonly kind: ViolationKind;
  /** True time, since the run began. */
  readonly atMs: number;
  readonly what: string;
}

/** README.md says what each of the checks looks at. `bugs`: a host logged an error that has no code of ours. */
export type ViolationKind =
  | "one copy"
  | "epochs"
  | "fencing"
  | "linearizability"
  | "durability"
  | "memory"
  | "sockets"
  | "topics"
  | "presence"
  | "alarms"
  | "bugs"
  | "healing";

export function lineOf({ kind, atMs, what }: Violation): string {
  return `at ${atMs.toFixed(1)} ms: ${kind}: ${what}`;
}
