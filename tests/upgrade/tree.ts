import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Another commit of this project in a folder of its own, with the packages of this one. */
export class Tree {
  readonly path: string;
  /** The commit, abbreviated. */
  readonly name: string;

  private constructor(path: string, name: string) {
    this.path = path;
    this.name = name;
  }

  static async checkOut(ref: string): Promise<Tree> {
    const name = await git("rev-parse", "--short", `${ref}^{commit}`);
    const path = join(await mkdtemp(join(tmpdir(), "upgrade-")), name);
    await git("worktree", "add", "--detach", path, name);
    await symlink(join(root, "node_modules"), join(path, "node_modules"));
    return new Tree(path, name);
  }

  async remove(): Promise<void> {
    await git("worktree", "remove", "--force", this.path);
    await rm(join(this.path, ".."), { recursive: true, force: true });
  }
}

async function git(...args: readonly string[]): Promise<string> {
  const child = Bun.spawn(["git", ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const [said, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`git ${args.join(" ")}: ${complaint.trim()}`);
  return said.trim();
}
