import type { SourceText } from "./source-text.ts";

export interface Silence {
  /** From 1. */
  readonly line: number;
  readonly what: string;
}

/** The type `any`: not `Promise.any`, not a method or a property of that name. */
const anyType = /(?<![.\w$])any\b(?!\s*\(|\??:)/;
/** `x!`, `f()!`, `a[0]!`, `field!: Type`; not `!=` and not the `!` that negates what follows. */
const nonNull = /[\w$)\]]!(?!=)/;
/** `x as Type`; not `as const`, not `.as(…)`, not a property called `as`. */
const assertion = /(?<![.\w$])as\s+(?!const\b)[\w$({["'`]/;
const directive = /@ts-(?:ignore|expect-error|nocheck)/;

/** Where `as` renames and asserts nothing: lists of imports and exports, and keys of mapped types. */
const renaming =
  /\b(?:import|export)\s+(?:type\s+)?(?:[\w$]+\s*,\s*)?(?:\{[^{}]*\}|\*\s*as\s+[\w$]+)|\[\s*[\w$]+\s+in\b[^\]]*\]/g;

/** A word or two is not a reason. */
const reasonLettersMin = 10;

/** Each place that switches the compiler off without saying why, on the line itself or in a comment directly above. */
export function unexplainedSilences(text: SourceText): Silence[] {
  const found: Silence[] = [];
  const lines = text.code.replace(renaming, (list) => list.replace(/[^\n]/g, " ")).split("\n");
  for (const [index, line] of lines.entries()) {
    const kinds = silencesOn(line, text.comments[index] ?? "");
    if (kinds.length > 0 && !hasReason(text, index)) {
      found.push({ line: index + 1, what: kinds.join(" and ") });
    }
  }
  return found;
}

function silencesOn(line: string, comment: string): string[] {
  const kinds: string[] = [];
  if (anyType.test(line)) kinds.push("any");
  if (nonNull.test(line)) kinds.push("!");
  if (assertion.test(line)) kinds.push("as");
  const used = directive.exec(comment);
  if (used) kinds.push(used[0]);
  return kinds;
}

function hasReason(text: SourceText, index: number): boolean {
  let words = text.comments[index] ?? "";
  for (let above = index - 1; above >= 0 && isCommentOnly(text, above); above--) {
    words = `${text.comments[above]} ${words}`;
  }
  const reason = words.replace(/@ts-[\w-]+|biome-ignore(?:-\w+)? [\w/]+:?/g, "");
  return reason.replace(/[^\p{Letter}]/gu, "").length >= reasonLettersMin;
}

function isCommentOnly({ lines, comments }: SourceText, index: number): boolean {
  return lines[index]?.trim() === "" && comments[index] !== "";
}
