import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/** Files of a folder by name, each with those of the same folder that it imports. */
type ImportGraph = ReadonlyMap<string, readonly string[]>;

const sourceFile = /\.[cm]?[jt]sx?$/;
const filesMax = 2_000;

/**
 * Which files of a folder have to be read again when `changed` have changed: these, and whatever imports them, directly or
 * not. Imports of types alone do not count, since nothing of them is left at run time.
 *
 * @param roots the files from which everything else is reached
 */
export async function filesConcerned(
  folder: string,
  roots: readonly string[],
  changed: readonly string[],
): Promise<ReadonlySet<string>> {
  const graph = await importGraph(folder, roots);
  const concerned = new Set(changed);
  // A Set goes on to what is added to it meanwhile.
  for (const file of concerned) {
    for (const [importer, imports] of graph) if (imports.includes(file)) concerned.add(importer);
  }
  return concerned;
}

async function importGraph(folder: string, roots: readonly string[]): Promise<ImportGraph> {
  const graph = new Map<string, readonly string[]>();
  const open = new Set(roots);
  for (const file of open) {
    const imports = sourceFile.test(file) ? await importsOf(folder, file) : [];
    graph.set(file, imports);
    for (const name of imports) if (open.size < filesMax) open.add(name);
  }
  return graph;
}

async function importsOf(folder: string, file: string): Promise<string[]> {
  try {
    const loader = file.endsWith("x") ? "tsx" : "ts";
    const imports = new Bun.Transpiler({ loader }).scanImports(await readFile(join(folder, file), "utf8"));
    return imports
      .map(({ path }) => path)
      .filter((path) => path.startsWith("."))
      .flatMap((path) => resolved(folder, file, path));
  } catch {
    // It does not compile, or has just gone. Loading it will say so.
    return [];
  }
}

function resolved(folder: string, file: string, path: string): string[] {
  const inside = dirname(join(folder, file));
  try {
    return [relative(folder, Bun.resolveSync(path, inside))];
  } catch {
    // Nothing is there yet. When it comes, whoever imports it must be read again.
    return [relative(folder, join(inside, path))];
  }
}
