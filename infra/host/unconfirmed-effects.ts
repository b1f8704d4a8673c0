/** What may wait for the next session: handlers that were open when the last one ended say no more than that. */
export const unconfirmedLimits = { effectsMax: 4096, bytesMax: 1024 * 1024 } as const;

/**
 * What handlers of an activation say after its session has ended (L3): nothing of it leaves before the next session has adopted
 * the object, and nothing ever does where somebody else has it. Those that are open then are few, since no event enters.
 */
export class UnconfirmedEffects {
  #effects: WaitingEffect[] = [];
  #bytes = 0;

  /** False where too much waits. */
  add(effect: WaitingEffect): boolean {
    const { effectsMax, bytesMax } = unconfirmedLimits;
    if (this.#effects.length >= effectsMax || this.#bytes + effect.bytes > bytesMax) return false;
    this.#effects.push(effect);
    this.#bytes += effect.bytes;
    return true;
  }

  takeAll(): readonly WaitingEffect[] {
    this.#bytes = 0;
    return this.#effects.splice(0);
  }
}

export interface WaitingEffect {
  readonly run: () => void;
  /** What it keeps in memory while it waits. */
  readonly bytes: number;
}
