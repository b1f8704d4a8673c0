import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { type AnyObjectClass, classDefinition } from "../object/object.ts";

/** A class and the file that it came from. */
export interface LoadedClass {
  readonly name: string;
  readonly file: string;
  readonly objectClass: AnyObjectClass;
}

const classFilePattern = /\.(?:ts|tsx|js|mjs)$/;
const notClassFile = /(?:\.d\.ts|\.test\.\w+)$|^[._]/;

/** A mistake in `objects/` that stops the start. The message names the file and says what to do. */
export class ClassFileError extends Error {
  override readonly name = "ClassFileError";
}

/** Names of the files in a folder that must each export a class; files that begin with `_` or `.` are left alone. */
export async function classFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
    throw new ClassFileError(`The folder ${folder} cannot be read. Classes live there, one per file.`, {
      cause,
    });
  });
  return entries
    .filter((entry) => entry.isFile() && classFilePattern.test(entry.name) && !notClassFile.test(entry.name))
    .map((entry) => entry.name)
    .sort();
}

/** Reads every class of a folder. Rejects with a `ClassFileError` at the first file that is not right. */
export async function loadClasses(folder: string): Promise<LoadedClass[]> {
  const loaded = await Promise.all((await classFiles(folder)).map((file) => loadClass(folder, file, "")));
  const byName = new Map<string, LoadedClass>();
  for (const found of loaded) {
    const twin = byName.get(found.name);
    if (twin) {
      throw new ClassFileError(
        `${found.file} and ${twin.file} both define the class "${found.name}". Rename one: object("another-name", …).`,
      );
    }
    byName.set(found.name, found);
  }
  return loaded;
}

/**
 * Imports one file. What that file imports in turn stays as it was first read.
 *
 * @param version distinguishes a changed file from what was imported before; "" for the first time
 */
export async function loadClass(folder: string, file: string, version: string): Promise<LoadedClass> {
  // A path and not a file URL, whose query Bun leaves out of account: a changed file would never be read.
  const path = resolve(folder, file);
  const module: { default?: unknown } = await import(version ? `${path}?v=${version}` : path).catch(
    (cause) => {
      throw new ClassFileError(
        `${file} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    },
  );
  const definition = classDefinition(module.default);
  if (definition === undefined) {
    const found =
      module.default === undefined ? "has no default export" : "exports something else by default";
    throw new ClassFileError(
      `${file} ${found}. Write: export default object("${file.replace(classFilePattern, "")}", { … }), or begin its name with "_".`,
    );
  }
  // classDefinition finds its mark on instances made by object() only.
  return { name: definition.name, file, objectClass: module.default as AnyObjectClass };
}
