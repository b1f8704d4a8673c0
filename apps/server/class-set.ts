import type { ActivationTable } from "../../infra/host/activation-table.ts";
import { ClassFileError, type LoadedClass, loadClass, loadClasses } from "../../infra/host/class-folder.ts";
import { type ClassRuntime, classRuntime, type HostIdentity } from "../../infra/host/class-runtime.ts";
import type { ResourcePool } from "../../infra/host/resource-pool.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import type { PlacementPolicy } from "../../infra/placement/placement.ts";

const anywhere: PlacementPolicy = { strategy: "nearest", regions: [] };

/** The classes of a host: what it runs, which file each came from, and, in dev, replacing one while the host runs. */
export class ClassSet {
  readonly runtimes = new Map<string, ClassRuntime>();
  readonly #nameOfFile = new Map<string, string>();
  readonly #self: HostIdentity;
  readonly #resources: ResourcePool;
  #version = 0;

  constructor(self: HostIdentity, resources: ResourcePool) {
    this.#self = self;
    this.#resources = resources;
  }

  get names(): readonly string[] {
    return [...this.runtimes.keys()].sort();
  }

  /** Reads a folder. Rejects with a `ClassFileError` that says what to do. */
  async loadFolder(folder: string): Promise<void> {
    for (const loaded of await loadClasses(folder)) this.#add(loaded);
  }

  /** A class that is already in memory, as tests and embedders have it. */
  add(objectClass: AnyObjectClass): void {
    const runtime = classRuntime(objectClass, this.#self, this.#resources);
    this.runtimes.set(runtime.definition.name, runtime);
  }

  /** What a class asks of placement. An edge that does not run the class leaves the regions to the hosts that do. */
  policyOf(className: string): PlacementPolicy {
    return this.runtimes.get(className)?.definition.placement ?? anywhere;
  }

  /** Reads a file again. Objects of its class start anew at their next event; until it loads, the old code goes on. */
  async reload(folder: string, file: string, table: ActivationTable): Promise<LoadedClass> {
    const loaded = await loadClass(folder, file, String(++this.#version));
    const twin = [...this.#nameOfFile].find(([other, name]) => name === loaded.name && other !== file);
    if (twin) {
      throw new ClassFileError(`${file} and ${twin[0]} both define the class "${loaded.name}". Rename one.`);
    }
    const before = this.#nameOfFile.get(file);
    if (before !== undefined && before !== loaded.name) await this.#remove(before, table);
    this.#add(loaded);
    await table.reload(loaded.name);
    return loaded;
  }

  /** A file is gone: its class is no longer run here. */
  async removeFile(file: string, table: ActivationTable): Promise<string | undefined> {
    const name = this.#nameOfFile.get(file);
    if (name === undefined) return undefined;
    this.#nameOfFile.delete(file);
    await this.#remove(name, table);
    return name;
  }

  #add(loaded: LoadedClass): void {
    this.add(loaded.objectClass);
    this.#nameOfFile.set(loaded.file, loaded.name);
  }

  async #remove(name: string, table: ActivationTable): Promise<void> {
    this.runtimes.delete(name);
    await table.removeClass(name);
  }
}
