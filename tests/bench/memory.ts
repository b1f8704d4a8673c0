import { heapStats } from "bun:jsc";

export interface Memory {
  readonly heapBytes: number;
  readonly residentBytes: number;
}

const collections = 4;

/** What this process holds after its garbage is gone. Several times, because finalizers free more after each. */
export async function memoryInUse(): Promise<Memory> {
  for (let count = 0; count < collections; count++) {
    Bun.gc(true);
    await Bun.sleep(50);
  }
  const { heapSize } = heapStats();
  return { heapBytes: heapSize, residentBytes: process.memoryUsage.rss() };
}
