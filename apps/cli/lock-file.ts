import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** A package as `bun.lock` has it. */
export interface LockedPackage {
  /** Where it stands in the tree: its name, or `parent/name` where it is another version than that of all others. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** Subresource integrity, `sha512-…`. */
  readonly integrity: string;
  /** Paths of the packages that it asks for, those left out that are for another system. */
  readonly dependencies: readonly string[];
  /** Only to be had on one system: `bun install` skips it elsewhere. */
  readonly isForOneSystem: boolean;
}

export interface LockFile {
  readonly packages: readonly LockedPackage[];
  /** Paths of what the project itself asks for. */
  readonly direct: { readonly toRun: readonly string[]; readonly toDevelop: readonly string[] };
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  /** Those of the peers that may be missing, and are where nobody else asks for them. */
  readonly optionalPeers?: readonly string[];
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly os?: unknown;
  readonly cpu?: unknown;
}
type Entry = readonly [spec: string, registry: string, manifest: Manifest, integrity: string];
interface LockText {
  readonly workspaces: { readonly "": Manifest };
  readonly packages: Readonly<Record<string, Entry>>;
}

/** @param root folder with the `bun.lock` */
export async function readLockFile(root: string): Promise<LockFile> {
  const text = await readFile(join(root, "bun.lock"), "utf8");
  // JSON with commas behind last members. It is Bun's own file, so its shape is known.
  const { packages, workspaces } = Bun.JSONC.parse(text) as LockText;
  const find = (from: string, name: string) => placeOf(packages, from, name);
  const asked = (from: string, names: object = {}) =>
    Object.keys(names).flatMap((name) => find(from, name) ?? []);
  const locked = Object.entries(packages).map(([path, [spec, , manifest, integrity]]): LockedPackage => {
    const at = spec.lastIndexOf("@");
    const { dependencies, optionalDependencies, peerDependencies, optionalPeers = [], os, cpu } = manifest;
    const peers = Object.entries(peerDependencies ?? {}).filter(([name]) => !optionalPeers.includes(name));
    const all = { ...dependencies, ...optionalDependencies, ...Object.fromEntries(peers) };
    return {
      ...{ path, name: spec.slice(0, at), version: spec.slice(at + 1), integrity: integrity ?? "" },
      ...{ dependencies: asked(path, all), isForOneSystem: os !== undefined || cpu !== undefined },
    };
  });
  const own = workspaces[""];
  return {
    packages: locked,
    direct: { toRun: asked("", own.dependencies), toDevelop: asked("", own.devDependencies) },
  };
}

/** The one that `from` gets when it asks for a name: the nearest, as Node looks for modules. */
function placeOf(packages: LockText["packages"], from: string, name: string): string | undefined {
  for (let place = from; ; place = place.slice(0, Math.max(0, place.lastIndexOf("/")))) {
    const path = place === "" ? name : `${place}/${name}`;
    if (Object.hasOwn(packages, path)) return path;
    if (place === "") return undefined;
  }
}

/** All that `paths` lead to, themselves included. */
export function reachedFrom(
  paths: readonly string[],
  packages: readonly LockedPackage[],
): ReadonlySet<string> {
  const byPath = new Map(packages.map((one) => [one.path, one]));
  const reached = new Set(paths);
  // A Set goes on to what is added to it meanwhile.
  for (const path of reached) for (const next of byPath.get(path)?.dependencies ?? []) reached.add(next);
  return reached;
}
