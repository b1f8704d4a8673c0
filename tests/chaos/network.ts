import { NamespaceWays } from "../continuity/namespace-ways.ts";
import type { Place } from "../continuity/ways.ts";

/** A link over which everything waits its turn, as a bad one of a mobile network. */
const slowLink = { rate: "600kbit", burst: "4kb", latency: "400ms" } as const;
/** The same where the kernel can delay packets. */
const delayedLink = { delay: "80ms", jitter: "30ms" } as const;

/** Every process in a network namespace of its own, on one bridge, and all that can befall the ways between them. */
export class Network {
  readonly #ways: NamespaceWays;
  readonly #places: Place[] = [];
  readonly #hasFilter = Bun.which("iptables") !== null;

  private constructor(ways: NamespaceWays) {
    this.#ways = ways;
  }

  static isPossible(): boolean {
    return NamespaceWays.isPossible();
  }

  /** @param size how many processes there will be */
  static async open(size: number): Promise<Network> {
    const network = new Network(await NamespaceWays.open());
    try {
      for (let index = 0; index < size; index += 1) network.#places.push(await network.#ways.place(index));
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  get bridge(): string {
    return this.#ways.bridge;
  }

  get namespaces(): readonly string[] {
    return this.#ways.namespaces;
  }

  place(index: number): Place {
    const place = this.#places[index];
    if (place === undefined) throw new Error(`There is no place ${index} in this network.`);
    return place;
  }

  /** Nothing that `from` sends reaches `to`, and neither is told. By iptables; without it, by a wrong hardware address. */
  async cut(from: number, to: number): Promise<void> {
    if (this.#hasFilter)
      await this.#run(to, "iptables", "-A", "INPUT", "-s", this.place(from).address, "-j", "DROP");
    else await this.#ways.set({ index: from, port: 0 }, { index: to, port: 0 }, true);
  }

  async heal(from: number, to: number): Promise<void> {
    if (this.#hasFilter)
      await this.#run(to, "iptables", "-D", "INPUT", "-s", this.place(from).address, "-j", "DROP");
    else await this.#ways.set({ index: from, port: 0 }, { index: to, port: 0 }, false);
  }

  /** Everything that it sends waits its turn. */
  async slow(index: number): Promise<() => Promise<void>> {
    const { delay, jitter } = delayedLink;
    const { rate, burst, latency } = slowLink;
    const queue = ["tc", "qdisc", "replace", "dev", "eth0", "root"];
    await this.#run(index, ...queue, "netem", "delay", delay, jitter).catch(() =>
      this.#run(index, ...queue, "tbf", "rate", rate, "burst", burst, "latency", latency),
    );
    return () => this.#run(index, "tc", "qdisc", "del", "dev", "eth0", "root");
  }

  /** A share of the packets that other processes send to it is lost; not of those of clients. */
  async lose(index: number, share: number): Promise<() => Promise<void>> {
    const rule = [
      ...["INPUT", "!", "-s", this.#ways.primaryAddress, "-i", "eth0"],
      ...["-m", "statistic", "--mode", "random", "--probability", String(share), "-j", "DROP"],
    ];
    await this.#run(index, "iptables", "-A", ...rule);
    return () => this.#run(index, "iptables", "-D", ...rule);
  }

  close(): Promise<void> {
    return this.#ways.close();
  }

  async #run(index: number, ...command: readonly string[]): Promise<void> {
    const child = Bun.spawn([...this.place(index).runner, ...command], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [code, complaint] = await Promise.all([child.exited, new Response(child.stderr).text()]);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${complaint.trim()}`);
  }
}
