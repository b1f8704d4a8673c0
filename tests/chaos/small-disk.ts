import { mkdtemp, rmdir, statfs } from "node:fs/promises";
import { rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** More than a run writes; of the machine's memory only what is written is taken. */
const sizeMb = 4_096;
/** All that exist, so that none outlives the process that made it. */
const open = new Set<SmallDisk>();
process.on("exit", () => {
  for (const disk of open) disk.removeNow();
});

/** A file system of its own, in memory, that can be full. */
export class SmallDisk {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static isPossible(): boolean {
    const isRoot = process.platform === "linux" && process.getuid?.() === 0;
    return isRoot && Bun.which("mount") !== null && Bun.which("umount") !== null;
  }

  /** @throws where the machine does not allow it */
  static async open(): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), "chaos-disk-"));
    await mount("-t", "tmpfs", "-o", `size=${sizeMb}m`, "chaos", folder);
    const disk = new SmallDisk(folder);
    open.add(disk);
    return disk;
  }

  /** Nothing more can be written, until `free`. */
  async fill(): Promise<void> {
    const { blocks, bfree, bsize } = await statfs(this.folder);
    // As small as what is in it: the kernel refuses less.
    for (let slack = 0; slack <= 1_024; slack = slack === 0 ? 16 : slack * 2) {
      const size = (blocks - bfree + slack) * bsize;
      const resized = await mount("-o", `remount,size=${size}`, this.folder).catch(() => false);
      if (resized !== false) return;
    }
    throw new Error(`${this.folder} could not be filled.`);
  }

  async free(): Promise<void> {
    await mount("-o", `remount,size=${sizeMb}m`, this.folder);
  }

  async close(): Promise<void> {
    open.delete(this);
    Bun.spawnSync(["umount", "-l", this.folder]);
    await rmdir(this.folder);
  }

  removeNow(): void {
    open.delete(this);
    Bun.spawnSync(["umount", "-l", this.folder]);
    rmdirSync(this.folder);
  }
}

async function mount(...args: readonly string[]): Promise<true> {
  const child = Bun.spawn(["mount", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const [code, complaint] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (code !== 0) throw new Error(`mount ${args.join(" ")}: ${complaint.trim()}`);
  return true;
}
