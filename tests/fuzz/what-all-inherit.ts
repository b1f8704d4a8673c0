/** What every value of a process inherits, and what every function sees: of what one client sends nothing may be left there. */
const watched: Readonly<Record<string, object>> = {
  "Object.prototype": Object.prototype,
  "Array.prototype": Array.prototype,
  "String.prototype": String.prototype,
  "Function.prototype": Function.prototype,
  "Map.prototype": Map.prototype,
  "Set.prototype": Set.prototype,
  "Promise.prototype": Promise.prototype,
  globalThis,
};

/** How that was, to be compared with how it is. */
export class WhatAllInherit {
  readonly #before = Object.entries(watched).map(([name, value]) => ({
    ...{ name, value },
    keys: Reflect.ownKeys(value).length,
    members: membersOf(name, value),
  }));

  /** Whether something has been added or taken away. Quick, and blind to what is replaced. */
  get hasOtherNames(): boolean {
    return this.#before.some(({ value, keys }) => Reflect.ownKeys(value).length !== keys);
  }

  /** What is there, is gone, or is another than it was: as `Array.prototype.polluted`. */
  changes(): string[] {
    return this.#before.flatMap(({ name, value, members }) => {
      const now = membersOf(name, value);
      const added = [...now.keys()].filter((key) => !members.has(key));
      const other = [...members].filter(([key, member]) => !now.has(key) || now.get(key) !== member);
      return [...added, ...other.map(([key]) => key)].map((key) => `${name}.${String(key)}`);
    });
  }
}

/** The values of what is in it; of `globalThis` the names alone, as some of its values are made when they are first looked at. */
function membersOf(name: string, value: object): Map<PropertyKey, unknown> {
  return new Map(
    Reflect.ownKeys(value).map((key) => {
      if (name === "globalThis") return [key, undefined];
      const { value: member, get } = Reflect.getOwnPropertyDescriptor(value, key) ?? {};
      return [key, get ?? member];
    }),
  );
}
