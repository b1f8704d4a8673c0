import type { HostLoad, HostRecord } from "../lease/directory.ts";

/** From this share of its tighter limit on a host takes no moves that can wait, so that it does not pass them on in turn. */
export const waitingMoveLoadMax = 0.9;

/**
 * How many more objects a host has room for, so that hosts of different size can be compared. The object limit says it
 * directly; the memory limit only if one knows how much an object takes. That is taken to be what it takes on average over
 * all hosts, the processes' own memory included: a little too much, which errs on the side of those with memory to spare.
 */
export function bytesPerObject(hosts: readonly HostRecord[]): number {
  let bytes = 0;
  let objects = 0;
  for (const { load } of hosts) {
    bytes += positive(load.memoryUsedBytes);
    objects += positive(load.objects);
  }
  return objects === 0 ? 0 : bytes / objects;
}

/** Never below 0. By whichever limit is met first. */
export function freeRoom(load: HostLoad, objectBytes: number): number {
  const byObjects = positive(load.objectsMax - load.objects);
  if (objectBytes === 0) return byObjects;
  return Math.min(byObjects, positive(load.memoryLimitBytes - load.memoryUsedBytes) / objectBytes);
}

/** The load as it will be once the objects that are on their way have arrived. */
export function loadWith(load: HostLoad, arriving: number, objectBytes: number): HostLoad {
  if (arriving === 0) return load;
  return {
    ...load,
    objects: load.objects + arriving,
    memoryUsedBytes: load.memoryUsedBytes + arriving * objectBytes,
  };
}

/** Figures come from other hosts, of other versions maybe. */
function positive(value: number): number {
  return Number.isNaN(value) ? 0 : Math.max(0, value);
}
