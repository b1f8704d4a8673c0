/** Compiles only where the two types are the same: `same<typeof state, Score>(true)`. */
export function same<A, B>(_isSame: Same<A, B>): void {
  // There is nothing to do: the call is checked, not run.
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
