import { type SourceText, textAt } from "./source-text.ts";

export interface Rule {
  readonly id: string;
  /** From 1. */
  readonly line: number;
}

/** `- **L1 One row per host.** …`, `### L1 …`, `| L1 | …`: a rule begins with its id. */
const ruleStart = /^\s*(?:(?:[-*]\s+|#+\s+|\|\s*)\**|\*\*)([A-Z]\d{1,2})\b/;
/** A rule that says this of itself waits for its code, and is let off until then. */
const notBuiltYet = /not built yet/i;

/** The rules that a README states and that are in force. */
export function rulesOf(markdown: string): Rule[] {
  const rules: (Rule & { text: string })[] = [];
  for (const [index, line] of markdown.split("\n").entries()) {
    const id = ruleStart.exec(line)?.[1];
    const last = rules.at(-1);
    if (id !== undefined) rules.push({ id, line: index + 1, text: line });
    else if (last) last.text += line.trim() === "" ? "\0" : ` ${line.trim()}`;
  }
  return rules.filter(({ text }) => !notBuiltYet.test(text.split("\0")[0] ?? ""));
}

const testCall = /\b(?:test|it|describe|scenario|rule)\b(?:\.\w+)*\s*\(/g;
const anyText = /["'`](?=[^"'`]*["'`])/g;
const ruleId = /\b[A-Z]\d{1,2}\b/g;
const leadingRuleId = /^[A-Z]\d{1,2}(?=[\s:,])/;

/**
 * The ids that the names of tests quote. A name is the first argument of `test(…)` and its like; or, for tests that are made
 * in a loop from a list of cases, any text that begins with an id.
 */
export function quotedRules(text: SourceText): Set<string> {
  const ids = new Set<string>();
  for (const match of text.code.matchAll(testCall)) {
    const name = textAt(text, firstArgument(text.code, match.index + match[0].length));
    for (const [id] of name?.matchAll(ruleId) ?? []) ids.add(id);
  }
  for (const match of text.code.matchAll(anyText)) {
    const id = leadingRuleId.exec(textAt(text, match.index) ?? "")?.[0];
    if (id !== undefined) ids.add(id);
  }
  return ids;
}

/** Where the first argument begins; for `test.each(cases)("name")`, that of the second call. */
function firstArgument(code: string, start: number): number {
  let depth = 1;
  let end = start;
  while (depth > 0 && end < code.length) {
    if (code[end] === "(") depth++;
    if (code[end] === ")") depth--;
    end++;
  }
  const argument = code[end] === "(" ? end + 1 : start;
  return argument + (/^\s*/.exec(code.slice(argument))?.[0].length ?? 0);
}
