import type { ObjectRef } from "../lib/object-ref.ts";
import type { ActivationMemory, HeldMemory, MemoryAccounts } from "./memory-account.ts";
import type { GuardedObject } from "./memory-survey.ts";

/** An activation, as far as the guard of the host's memory is concerned. */
export interface GuardedActivation {
  readonly ref: ObjectRef;
  readonly isLive: boolean;
  readonly isIdle: boolean;
  /** Something happened to it since the last idle sweep. */
  readonly touched: boolean;
  /** On the monotonic clock. */
  readonly idleSinceMs: number;
  heldMemory(): HeldMemory;
}

export interface GuardedObjectsSetup<Guarded extends GuardedActivation> {
  readonly accounts: MemoryAccounts;
  readonly monotonicMs: () => number;
  readonly sleep: (activation: Guarded) => Promise<void>;
  readonly mayMove: (activation: Guarded) => boolean;
  readonly move: (activation: Guarded) => Promise<boolean>;
}

/** Values that are looked at in each state: the guard goes through all objects of a host, and needs their order of size only. */
const surveyedNodesMax = 200;

/** The activations of a host for its guard. Made one by one as they are looked at: it is memory that is short. */
export function* guardedObjects<Guarded extends GuardedActivation>(
  activations: Iterable<Guarded>,
  setup: GuardedObjectsSetup<Guarded>,
): Generator<GuardedObject> {
  for (const activation of activations) if (activation.isLive) yield new GuardedObjectOf(activation, setup);
}

class GuardedObjectOf<Guarded extends GuardedActivation> implements GuardedObject {
  readonly #activation: Guarded;
  readonly #setup: GuardedObjectsSetup<Guarded>;

  constructor(activation: Guarded, setup: GuardedObjectsSetup<Guarded>) {
    this.#activation = activation;
    this.#setup = setup;
  }

  get key(): string {
    return this.#activation.ref.key;
  }
  get idleForMs(): number | undefined {
    const { isLive, isIdle, touched, idleSinceMs } = this.#activation;
    return isLive && isIdle && !touched ? this.#setup.monotonicMs() - idleSinceMs : undefined;
  }
  get mayMove(): boolean {
    return this.#activation.isLive && this.#setup.mayMove(this.#activation);
  }
  memory(): ActivationMemory {
    return this.#setup.accounts.of(this.#activation.heldMemory(), surveyedNodesMax);
  }
  async sleep(): Promise<void> {
    if (this.idleForMs !== undefined) await this.#setup.sleep(this.#activation);
  }
  async move(): Promise<boolean> {
    return this.mayMove && (await this.#setup.move(this.#activation));
  }
}
