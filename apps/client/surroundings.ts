/**
 * Time, chance and the machine as arguments. Nothing else in this folder reads a clock, sets a timer or draws a number, so
 * that a test can own all three.
 */
export interface Surroundings {
  /** Milliseconds on a clock that never steps. Only differences mean something. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch. */
  wallMs(): number;
  /** Runs `callback` once after `delayMs`. The returned function cancels it; calling it late does nothing. */
  after(delayMs: number, callback: () => void): Cancel;
  /** From 0 up to 1. */
  random(): number;
  /** Calls back when the machine may have slept or changed its network. The returned function ends that. */
  onWake(callback: () => void): Cancel;
}

export type Cancel = () => void;

export const systemSurroundings: Surroundings = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    // Timers count in a signed integer of 32 bits, and fire at once where they are asked for more.
    const timer = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
  onWake,
};

/** In browsers and workers; elsewhere the heartbeat alone notices. A page that is shown again has often slept. */
function onWake(callback: () => void): Cancel {
  // Neither of the two exists everywhere, whatever the DOM's types say.
  const machine = globalThis as Partial<typeof globalThis>;
  const { document } = machine;
  const shown = () => {
    if (document?.visibilityState === "visible") callback();
  };
  machine.addEventListener?.("online", callback);
  document?.addEventListener("visibilitychange", shown);
  return () => {
    machine.removeEventListener?.("online", callback);
    document?.removeEventListener("visibilitychange", shown);
  };
}
