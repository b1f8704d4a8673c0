import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type SourceText, sourceText } from "./source-text.ts";

const root = join(import.meta.dir, "../../..");

/** Every file that is in git or about to be: tracked, or new and not ignored. Paths from the root of the project. */
export function projectFiles(): string[] {
  const list = Bun.spawnSync(["git", "ls-files", "-co", "--exclude-standard", "-z"], { cwd: root });
  if (!list.success)
    throw new Error(`git ls-files failed: ${list.stderr}. These tests need git and a clone.`);
  const files = list.stdout.toString().split("\0").filter(Boolean);
  // A file that was deleted is listed until that is staged.
  return [...new Set(files)].filter((file) => existsSync(join(root, file))).toSorted();
}

export function readProjectFile(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** The TypeScript files among them, taken apart. */
export function projectSources(files: readonly string[]): ReadonlyMap<string, SourceText> {
  const sources = files.filter((file) => /\.tsx?$/.test(file));
  return new Map(sources.map((file) => [file, sourceText(readProjectFile(file))]));
}
