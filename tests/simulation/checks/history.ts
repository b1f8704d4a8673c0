/** What a client asked of a sum, and what it was told. */
export type Question =
  | { readonly kind: "read" }
  | { readonly kind: "add"; readonly op: string; readonly by: number }
  | { readonly kind: "exchange"; readonly op: string; readonly expected: number; readonly next: number };

export type Outcome =
  /** It was told. `exchanged` is of an exchange. */
  | { readonly kind: "answered"; readonly total: number; readonly exchanged?: boolean }
  /** It was told that nothing has been done. */
  | { readonly kind: "refused" }
  /** It was told nothing, or that nobody knows: it may have been done, or may yet be. */
  | { readonly kind: "unknown" };

export interface Operation {
  readonly key: string;
  readonly question: Question;
  readonly invokedAtMs: number;
  /** When its outcome was known; infinite where it never is. */
  readonly returnedAtMs: number;
  readonly outcome: Outcome;
}
