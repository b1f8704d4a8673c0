import type { AttackReport } from "./attack.ts";
import type { AttackSetup } from "./attack-process.ts";
import type { LoadHost } from "./load-host.ts";

export type Size = "full" | "small";

/** A bound, and where it comes from. */
export interface Bound {
  readonly mebibytes: number;
  readonly because: string;
}

/** A load that runs, in a process of its own. */
export interface RunningAttack {
  report(): Promise<AttackReport>;
  step(name: string): Promise<AttackReport>;
  /** Resolves with the last report once it has done all that it was to do. */
  done(limitMs: number): Promise<AttackReport>;
  /** Its process ends: what was still open is open no more. */
  stop(): Promise<AttackReport>;
}

/** Of the host that is loaded. */
export type WantedAttack = WithoutPort<AttackSetup>;

/** Of each of the kinds by itself. */
type WithoutPort<Setup> = Setup extends unknown ? Omit<Setup, "port"> : never;

/** What a scenario acts on. */
export interface LoadStage {
  readonly host: LoadHost;
  /** One of two figures, by how large the run is. */
  readonly size: <T>(full: T, small: T) => T;
  attack(setup: WantedAttack): Promise<RunningAttack>;
  /** Shown, and kept with the result. */
  figure(name: string, value: number): void;
  /** Counts as a failure of the scenario where it does not hold. */
  check(what: string, holds: boolean): void;
  /** Asks the host for something. */
  ask(path: string, init?: RequestInit): Promise<Response>;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** Settings of the host beside the defaults. */
  readonly env?: Readonly<Record<string, string>>;
  /** Put in front of the host's command. */
  readonly runner?: readonly string[];
  /** Answers and closes that may come, as `Tally` writes them. */
  readonly expected: readonly string[];
  /** How much of the load has to have come about: by a figure, an answer or a close, the least. With less the host was not tried. */
  readonly floors: (stage: LoadStage) => Readonly<Record<string, number>>;
  /** What the host may have resident beyond what it had before: while it lasts. */
  readonly growth: (stage: LoadStage) => Bound;
  /** What objects are meant to keep afterwards, in MiB. Default 0. */
  readonly keptMiB?: number;
  /** The bystander's slowest answer but one in a hundred, while the load lasts: in ms. */
  readonly bystanderP99Ms: number;
  /** The load, from its beginning to its end. */
  readonly run: (stage: LoadStage) => Promise<void>;
  /** Whether the object that was loaded serves. */
  readonly serves: (stage: LoadStage) => Promise<boolean>;
  /** … within this time after the end. */
  readonly recoveryLimitMs: number;
}
