/** Milliseconds that mean the same in every process of this machine, finer than `Date.now()`. */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}
