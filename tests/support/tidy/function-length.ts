import type { SourceText } from "./source-text.ts";

export interface FoundFunction {
  /** Its first line, from 1. */
  readonly line: number;
  readonly length: number;
  /** How it begins, to recognise it by. */
  readonly head: string;
}

/** A line that opens a body: `… => {`, `…) {`, `…): Type {`; also `… => ({`, `… => call(` and `… =>`. */
const opensBody = /=>(?:[^;]*[({[])?$|\)(?:\s*:\s*\S.*)?\s*\{$/;
const control = /^[\s)}\]]*(?:else\s+)?(?:if|else|for|while|switch|catch|try|do|finally|with)\b/;
const declaration =
  /^\s*(?:(?:export|default|declare|abstract)\s+)*(?:class|interface|namespace|module|enum)\b/;
/** `}> {`: a return type of several lines ends, and the body begins. */
const endOfReturnType = /^\s*\}[>)\]]*\s*\{\s*$/;
/** The last line of a text of several lines, which follows no indentation. */
const templateEnd = /^\s*`/;
const closer = /^\s*[)}\]]/;

/**
 * Every function that spans more than one line, by indentation: in formatted code a function ends at the first line that
 * is indented no deeper than the line that opened its body. A head of several lines begins at the line above it with the
 * same indentation. Functions inside functions are found too, and count for both.
 */
export function functionsOf({ lines }: SourceText): FoundFunction[] {
  const found: FoundFunction[] = [];
  for (const [index, raw] of lines.entries()) {
    const line = raw.trimEnd();
    if (!opensBody.test(line) || control.test(line)) continue;
    const headIndex = firstLineOfHead(lines, index);
    const head = lines[headIndex] ?? "";
    if (control.test(head) || declaration.test(head)) continue;
    const length = lastLineOfBody(lines, index) - headIndex + 1;
    found.push({ line: headIndex + 1, length, head: head.trim() });
  }
  return found;
}

function firstLineOfHead(lines: readonly string[], opening: number): number {
  const indent = indentOf(lines[opening] ?? "");
  let head = opening;
  while (closer.test(lines[head] ?? "") && !control.test(lines[head] ?? "")) {
    let above = head - 1;
    while (above >= 0 && (isBlank(lines[above]) || indentOf(lines[above] ?? "") > indent)) above--;
    if (above < 0 || indentOf(lines[above] ?? "") < indent) break;
    head = above;
  }
  return head;
}

function lastLineOfBody(lines: readonly string[], opening: number): number {
  const indent = indentOf(lines[opening] ?? "");
  let last = opening;
  for (let index = opening + 1; index < lines.length; index++) {
    const line = lines[index] ?? "";
    if (isBlank(line) || templateEnd.test(line)) continue;
    if (indentOf(line) <= indent && !endOfReturnType.test(line)) return closer.test(line) ? index : last;
    last = index;
  }
  return last;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function isBlank(line: string | undefined): boolean {
  return line === undefined || line.trim() === "";
}
