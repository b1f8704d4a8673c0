import type { CancelTimer } from "../lib/clock.ts";
import type { OwnerLine } from "./owner-line.ts";
import type { Hello } from "./socket-hello.ts";

/** Where the owner is, as far as the edge knows. */
export type OwnerState =
  /** No client has been accepted yet. */
  | { readonly name: "unattached" }
  | { readonly name: "attached"; readonly line: OwnerLine }
  /** It has moved to an owner of that epoch, which has not said hello. One after that may have: it has moved on already. */
  | {
      readonly name: "moving";
      readonly process: string;
      readonly epoch: number;
      readonly cancelLimit: CancelTimer;
    }
  | { readonly name: "lost"; readonly sinceMs: number; readonly process: string }
  | { readonly name: "over" };

/** An owner with a later epoch than the one on the line, or the one that was announced, whose last word has not come yet. */
export interface WaitingLine {
  readonly line: OwnerLine;
  readonly hello: Hello;
  readonly cancelLimit: CancelTimer;
}
