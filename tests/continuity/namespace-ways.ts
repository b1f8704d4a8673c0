import { existsSync } from "node:fs";
import type { Place, Stop, Ways } from "./ways.ts";

/** Nobody's: what is sent to it is lost. */
const nobody = "02:00:00:00:00:99";
/** Made so far: the kernel takes its time to give a name back. */
let stages = 0;
/** All that exist, so that none outlives the process that made it. */
const open = new Set<NamespaceWays>();
process.on("exit", () => {
  for (const ways of open) ways.removeNow();
});

/** Every host in a network namespace of its own, on one bridge; a way is cut by giving its receiver nobody's hardware address. */
export class NamespaceWays implements Ways {
  readonly kind = "namespaces";
  readonly #subnet: string;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];

  private constructor() {
    const number = crypto.getRandomValues(new Uint8Array(2));
    this.#subnet = `10.${200 + ((number[0] ?? 0) % 50)}.${number[1]}`;
    // The kernel takes 15 characters for a name, the number of the host included.
    stages += 1;
    this.#prefix = `ct${process.pid % 1_000_000}${stages.toString(36)}`;
  }

  static isPossible(): boolean {
    const isRoot = process.platform === "linux" && process.getuid?.() === 0;
    if (!isRoot || Bun.which("ip") === null || !existsSync("/proc/self/ns/net")) return false;
    const name = `cttry${process.pid}`;
    const made = Bun.spawnSync(["ip", "link", "add", name, "type", "bridge"]).success;
    const separated = Bun.spawnSync(["ip", "netns", "add", name]).success;
    Bun.spawnSync(["ip", "netns", "del", name]);
    Bun.spawnSync(["ip", "link", "del", name]);
    return made && separated;
  }

  static async open(): Promise<NamespaceWays> {
    const ways = new NamespaceWays();
    open.add(ways);
    const { bridge } = ways;
    await ip("link", "add", bridge, "type", "bridge");
    await ip("addr", "add", `${ways.#subnet}.1/24`, "dev", bridge);
    await ip("link", "set", bridge, "up");
    return ways;
  }

  get bridge(): string {
    return `${this.#prefix}b`;
  }

  /** What `ip netns` calls them. */
  get namespaces(): readonly string[] {
    return this.#namespaces;
  }

  get primaryAddress(): string {
    return `${this.#subnet}.1`;
  }

  async place(index: number): Promise<Place> {
    const name = `${this.#prefix}${index}`;
    if (!this.#namespaces.includes(name)) {
      this.#namespaces.push(name);
      await ip("netns", "add", name);
      await ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name);
      await ip("link", "set", name, "master", this.bridge, "up");
      await ip("-n", name, "addr", "add", `${this.#addressOf(index)}/24`, "dev", "eth0");
      await ip("-n", name, "link", "set", "eth0", "up");
      await ip("-n", name, "link", "set", "lo", "up");
    }
    const runner = ["ip", "netns", "exec", name];
    return { address: this.#addressOf(index), runner, preload: undefined, env: {} };
  }

  async set(from: Stop, to: Stop, isCut: boolean): Promise<void> {
    const name = `${this.#prefix}${from.index}`;
    const address = this.#addressOf(to.index);
    if (isCut)
      await ip("-n", name, "neigh", "replace", address, "lladdr", nobody, "dev", "eth0", "nud", "permanent");
    else await ip("-n", name, "neigh", "del", address, "dev", "eth0");
  }

  async close(): Promise<void> {
    this.removeNow();
  }

  removeNow(): void {
    open.delete(this);
    for (const name of this.#namespaces) {
      // By itself it goes with its namespace, which the kernel keeps until the last connection in it has timed out.
      Bun.spawnSync(["ip", "link", "del", name]);
      Bun.spawnSync(["ip", "netns", "del", name]);
    }
    Bun.spawnSync(["ip", "link", "del", this.bridge]);
  }

  #addressOf(index: number): string {
    return `${this.#subnet}.${index + 10}`;
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  const child = Bun.spawn(["ip", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const [code, complaint] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (code !== 0) throw new Error(`ip ${args.join(" ")}: ${complaint.trim()}`);
}
