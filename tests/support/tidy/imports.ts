import { posix } from "node:path";
import { lineAt, type SourceText, textAt } from "./source-text.ts";

export interface Import {
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
  /** `import type …`: gone at run time. */
  readonly isTypeOnly: boolean;
}

/** `import … from "x"`, `export … from "x"`; the group holds `type` where the whole of it is types. */
const fromClause = /\b(?:import|export)(\s+type)?\b[\w$\s,*{}]*?\bfrom\s*(?=["'])/g;
/** `import "x"`, `import("x")`, `new URL("x", import.meta.url)` (how workers are started). */
const otherForms = /\bimport\s*\(?\s*(?=["'`])|\bnew URL\(\s*(?=["'`][^)]*import\.meta\.url)/g;

export function importsOf(text: SourceText): Import[] {
  const found: Import[] = [];
  for (const form of [fromClause, otherForms]) {
    for (const match of text.code.matchAll(form)) {
      const open = match.index + match[0].length;
      const specifier = textAt(text, open);
      if (specifier === undefined) continue;
      found.push({ specifier, line: lineAt(text, open), isTypeOnly: match[1] !== undefined });
    }
  }
  return found;
}

/** The file that a relative import means, from the root of the project; undefined for a package. */
export function importedFile(importer: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return posix.normalize(posix.join(posix.dirname(importer), specifier));
}
