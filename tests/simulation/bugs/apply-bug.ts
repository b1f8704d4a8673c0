import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Change, deliberateBugs } from "./deliberate-bugs.ts";

const root = join(import.meta.dir, "../../..");

/**
 * From here on the product has this bug in this process: the text of a file is another by the time it is loaded. Throws where that text is
 * not there any more, so that no bug of the list ceases to be one unnoticed.
 */
export function applyBug(name: string): void {
  const bug = deliberateBugs.find((each) => each.name === name);
  if (bug === undefined) throw new Error(`There is no deliberate bug called "${name}".`);
  for (const [file, ...changes] of bug.files) {
    const contents = withChanges(readFileSync(join(root, file), "utf8"), changes, file);
    Bun.plugin({
      name: "deliberate bug",
      setup: (build) => {
        const filter = new RegExp(`${file.replaceAll(/[.\\]/g, "\\$&")}$`);
        build.onLoad({ filter }, () => ({ contents, loader: "ts" }));
      },
    });
  }
}

/** @throws Error where a text to be changed is not there exactly once */
export function withChanges(source: string, changes: readonly Change[], file: string): string {
  let text = source;
  for (const [from, to] of changes) {
    const parts = text.split(from);
    if (parts.length !== 2)
      throw new Error(
        `${file} has the text of a deliberate bug ${parts.length - 1} times, not once: ${from}`,
      );
    text = parts.join(to);
  }
  return text;
}
