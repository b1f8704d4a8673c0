import { expect, test } from "bun:test";
import type { Topic } from "../../apps/client/topic.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { type Checked, CheckedListener, CheckedLoop, type Numbered } from "./heard-model.ts";
import { amsUrl, iadUrl, Rig } from "./rig.ts";
import type { HostConnection, ScriptedHost } from "./scripted-host.ts";

/**
 * Hosts that drop, fall silent, forget, refuse, repeat and go, a network that is cut, and listeners that come and go with any
 * `since`; against what every listener has a right to. All in memory and virtual time, so that a seed is the whole run:
 *
 *     CLIENT_SEED=… bun test tests/client/exactly-once.fuzz.test.ts
 */
const seed = seedFrom("CLIENT_SEED");
const runs = Number(process.env.CLIENT_RUNS ?? 25);
const stepsPerRun = 160;

const object = "room/lobby";
const topicName = "chat";

/** How a run treats its listeners. `kind`: nothing is ever lost by the hosts, so nobody may be told of a gap. */
interface Weather {
  readonly historyMax: number | undefined;
  readonly isKind: boolean;
}

const weathers: readonly (Weather & { readonly name: string })[] = [
  { name: "a history that keeps everything", historyMax: 1_000_000, isKind: true },
  { name: "a short history, and owners that lose it", historyMax: 6, isKind: false },
  { name: "no history", historyMax: undefined, isKind: false },
];

for (const weather of weathers) {
  test(`C1 C2 C3 every listener hears everything once, in order, or is told: ${weather.name}, seed ${seed}`, async () => {
    const seeds = new SeededRandom(seed);
    for (let run = 0; run < runs; run += 1) {
      const runSeed = seeds.between(0, 2 ** 31);
      const offences = await new Run(runSeed, weather).play();
      if (offences.length > 0)
        throw new Error(`run ${run} of seed ${seed}:\n${offences.slice(0, 3).join("\n")}`);
    }
  }, 60_000);
}

class Run {
  readonly #random: SeededRandom;
  readonly #weather: Weather;
  readonly #rig: Rig;
  readonly #listeners: Checked[] = [];
  readonly #offences: string[] = [];
  /** What each subscription of a connection was sent, to be repeated. */
  #refusals: number[] = [];

  constructor(seed: number, weather: Weather) {
    this.#random = new SeededRandom(seed);
    this.#weather = weather;
    this.#rig = new Rig({ minUptime: 1_000 });
    this.#rig.around.chance = () => this.#random.next();
    const kept = this.#rig.iad.topic(object, topicName);
    kept.historyMax = weather.historyMax;
    for (const host of this.#hosts)
      host.refuses = () => {
        const status = this.#refusals.pop();
        return status === undefined ? undefined : { status, error: { retryable: status === 503 } };
      };
  }

  async play(): Promise<readonly string[]> {
    for (let step = 0; step < stepsPerRun; step += 1) {
      this.#act();
      for (let moves = this.#random.between(0, 12); moves > 0; moves -= 1)
        this.#rig.network.step((lines) => (lines.length > 0 ? this.#random.pick(lines) : undefined));
      for (const listener of this.#listeners) if (this.#random.isLucky(0.4)) listener.pull();
      if (this.#random.isLucky(0.3)) await this.#rig.around.advance(this.#random.between(0, 3_000));
    }
    await this.#recover();
    return this.#offences;
  }

  get #hosts(): readonly ScriptedHost[] {
    return [this.#rig.iad, this.#rig.ams];
  }

  get #connections(): HostConnection[] {
    return this.#hosts.flatMap(({ connections }) => [...connections]);
  }

  #act(): void {
    const { network } = this.#rig;
    const chance = this.#random.between(1, 100);
    if (chance <= 38) this.#publish();
    else if (chance <= 52) this.#subscribe();
    else if (chance <= 58) this.#pickListener()?.stop();
    else if (chance <= 62) network.cut();
    else if (chance <= 67)
      this.#pickConnection()?.close(this.#random.pick([1001, 1006, 1011, 1012, 1013, 4401, 4408]));
    else if (chance <= 72)
      this.#pickConnection()?.end(object, topicName, this.#random.pick([1006, 1012, 1013, 4408]));
    else if (chance <= 75) this.#refusals.push(this.#random.pick([503, 429, 500]));
    else if (chance <= 79) this.#toggle(network.down);
    else if (chance <= 82) this.#toggle(network.mute);
    else if (chance <= 84) this.#rig.around.wake();
    else if (chance <= 85) this.#rig.client.reconnect();
    else if (chance <= 88) this.#silence(this.#random.pick(this.#hosts), this.#random.isLucky(0.4));
    else if (chance <= 93) this.#pickConnection()?.repeat(object, topicName, this.#random.between(1, 5));
    else if (!this.#weather.isKind) this.#beUnkind(chance);
  }

  #beUnkind(chance: number): void {
    if (chance <= 95) this.#rig.iad.forget(object, topicName);
    else if (chance <= 97) this.#skip();
    else for (const host of this.#hosts) host.recovers = () => this.#random.isLucky(0.7);
  }

  #skip(): void {
    const connection = this.#pickConnection();
    if (connection) connection.skipsNext = true;
  }

  /** What a silent host did not say it cannot say later: the connections that it has had are over. */
  #silence(host: ScriptedHost, isSilent: boolean): void {
    if (host.isSilent && !isSilent) host.drop(1006);
    host.isSilent = isSilent;
  }

  #publish(): void {
    const { offset } = this.#rig.iad.topic(object, topicName);
    // A host that is silent tells its own clients nothing, and everybody else's all the same.
    this.#rig.iad.publish(object, topicName, { n: offset + 1 });
  }

  #subscribe(): void {
    if (this.#listeners.filter(({ isActive }) => isActive).length >= 6) return;
    const topic = this.#rig.client.object("room", "lobby").topic(topicName);
    const kept = this.#rig.iad.topic(object, topicName);
    const places = [
      ...this.#listeners.map(({ position }) => position),
      kept.position,
      kept.at(Math.min(1, kept.offset)),
    ];
    const since = [undefined, undefined, "oldest", ...places][this.#random.between(0, 4)];
    const presence = this.#random.isLucky(0.2);
    const start = since?.includes(".") ? Number(since.split(".")[1]) : undefined;
    const name = `listener ${this.#listeners.length} (since ${since})`;
    const query = this.#random.isLucky(0.1) ? { name: "ann" } : undefined;
    const setup = {
      name,
      topic: topic as Topic<Numbered>, // all that this test publishes is numbered
      options: { since, presence, query },
      start,
      offences: this.#offences,
    };
    const isLoop = this.#random.isLucky(0.3);
    this.#listeners.push(isLoop ? new CheckedLoop(setup) : new CheckedListener(setup));
  }

  #pickListener(): Checked | undefined {
    const active = this.#listeners.filter(({ isActive }) => isActive);
    return active.length > 0 ? this.#random.pick(active) : undefined;
  }

  #pickConnection(): HostConnection | undefined {
    return this.#connections.length > 0 ? this.#random.pick(this.#connections) : undefined;
  }

  #toggle(places: Set<string>): void {
    const host = new URL(this.#random.pick([iadUrl, amsUrl])).host;
    if (!places.delete(host) && this.#random.isLucky(0.5)) places.add(host);
  }

  /** Everything works again. Then whoever still listens hears the last message, whatever happened before. */
  async #recover(): Promise<void> {
    const { network } = this.#rig;
    network.down.clear();
    network.mute.clear();
    this.#refusals = [];
    for (const host of this.#hosts) this.#silence(host, false);
    for (const host of this.#hosts) host.recovers = () => true;
    await this.#rig.pass(90_000, 1_000);
    for (const connection of this.#connections) connection.skipsNext = false;
    this.#publish();
    await this.#rig.pass(20_000, 1_000);
    // A loop may have as many entries as its buffer holds, and a gap.
    for (let pulls = 0; pulls < 8; pulls += 1) {
      for (const listener of this.#listeners) listener.pull();
      await this.#rig.settle();
    }
    const { offset } = this.#rig.iad.topic(object, topicName);
    for (const { name, isActive, last, gaps, story } of this.#listeners) {
      if (isActive && last !== offset) this.#offences.push(`${name} does not hear ${offset}; ${story}`);
      if (this.#weather.isKind && gaps > 0)
        this.#offences.push(`${name} is told of a gap that is none; ${story}`);
    }
    // One for those who asked who is present, one for the others; and the same for those with a query of their own.
    if (this.#weather.historyMax !== undefined) expect(network.sockets.size).toBeLessThanOrEqual(4);
    await this.#rig.close();
  }
}
