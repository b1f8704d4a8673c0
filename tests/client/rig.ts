import { Client } from "../../apps/client/client.ts";
import type { ConnectOptions } from "../../apps/client/options.ts";
import type { Surroundings } from "../../apps/client/surroundings.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { MemoryNetwork } from "./memory-network.ts";
import { ScriptedHost, type ScriptedTopics } from "./scripted-host.ts";

export const iadUrl = "https://iad.test";
export const amsUrl = "https://ams.test";

/** Virtual time, chance that is always the same, and a machine that wakes when it is told to. */
export class TestSurroundings extends VirtualClock implements Surroundings {
  readonly #wakes = new Set<() => void>();
  chance = () => 0.5;

  random(): number {
    return this.chance();
  }

  onWake(callback: () => void): () => void {
    this.#wakes.add(callback);
    return () => this.#wakes.delete(callback);
  }

  wake(): void {
    for (const callback of [...this.#wakes]) callback();
  }

  get wakesLeft(): number {
    return this.#wakes.size;
  }
}

/** A client with its time, its network, and the two hosts of a cluster. */
export class Rig {
  readonly around = new TestSurroundings();
  readonly iad: ScriptedHost;
  readonly ams: ScriptedHost;
  readonly network: MemoryNetwork;
  readonly client: Client;

  constructor(options: ConnectOptions = {}, urls: string | readonly string[] = [iadUrl, amsUrl]) {
    const topics: ScriptedTopics = new Map();
    this.iad = new ScriptedHost("iad-1", topics);
    this.ams = new ScriptedHost("ams-1", topics);
    this.iad.peers = [this.ams];
    this.ams.peers = [this.iad];
    this.network = new MemoryNetwork({ [iadUrl]: this.iad, [amsUrl]: this.ams });
    this.client = new Client(urls, { WebSocket: this.network.WebSocket, ...options }, this.around);
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    await this.network.settle();
    await this.around.advance(0);
    await this.network.settle();
  }

  /** Lets time pass in small steps, with all that happens meanwhile. */
  async pass(ms: number, stepMs = 250): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      await this.around.advance(Math.min(left, stepMs));
      await this.network.settle();
    }
  }

  get chat() {
    return this.client.object("room", "lobby").topic("chat");
  }

  /** At whichever host: all of them tell their listeners. */
  publish(...messages: unknown[]): void {
    for (const message of messages) this.iad.publish("room/lobby", "chat", message);
  }

  /** Closes the client, and finds that nothing of it is left. */
  async close(): Promise<void> {
    this.client.close();
    await this.settle();
    const { timersLeft, wakesLeft } = this.around;
    if (timersLeft + wakesLeft > 0) throw new Error(`${timersLeft} timers and ${wakesLeft} wakes are left.`);
  }
}
