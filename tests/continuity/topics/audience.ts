import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { dialEvents } from "./event-listener.ts";
import { FramedListener } from "./framed-listener.ts";
import type { ListenerKind, Publishing } from "./listening.ts";
import { Notebook } from "./notebook.ts";
import { dialRaw } from "./raw-listener.ts";
import { type Dialled, RoamingClient, sleepUnless } from "./roaming-client.ts";

export interface AudienceSetup {
  readonly hosts: readonly HostProcess[];
  readonly addresses: readonly string[];
  readonly random: SeededRandom;
  /** Framed clients, each of several topics. */
  readonly framed: number;
  /** Clients of one topic each. */
  readonly events: number;
  readonly raw: number;
}

/** Topics that a framed client listens to. */
const topicsOfFramed = 4;
/** Between two things that a framed client does. */
const framedEveryMs = 250;
/** Of those things, how many are to leave a topic and to come back. */
const turnsShare = 0.05;

/** All who listen, of every kind; those with frames also publish. */
export class Audience {
  readonly notes: Notebook[] = [];
  readonly publishings: Publishing[] = [];
  /** Which refusals framed clients met, by their status. */
  readonly refused = new Map<number, number>();
  readonly #clients: RoamingClient[] = [];
  readonly #speaking: Promise<void>[] = [];
  readonly #silence = new AbortController();

  constructor(setup: AudienceSetup) {
    const { framed, events, raw } = setup;
    for (let index = 0; index < framed; index += 1) this.#addFramed(setup, index);
    for (let index = 0; index < events; index += 1) this.#addSingle(setup, index, "events", dialEvents);
    for (let index = 0; index < raw; index += 1) this.#addSingle(setup, index, "raw", dialRaw);
  }

  start(): void {
    for (const client of this.#clients) client.start();
  }

  /** They publish no more. */
  async silence(): Promise<void> {
    this.#silence.abort();
    await Promise.all(this.#speaking);
  }

  /** Everybody comes back, and stays. */
  settle(): void {
    for (const client of this.#clients) client.settle();
  }

  async stop(): Promise<void> {
    await this.silence();
    await Promise.all(this.#clients.map((client) => client.stop()));
  }

  /** Who listens now, by the topic's address. */
  get connected(): Map<string, string[]> {
    const open = this.notes.filter(({ isOpen }) => isOpen);
    const grouped = Map.groupBy(open, ({ address }) => address);
    return new Map(Array.from(grouped, ([address, all]) => [address, all.map(({ listener }) => listener)]));
  }

  #addSingle(
    { hosts, addresses, random }: AudienceSetup,
    index: number,
    kind: ListenerKind,
    dial: (host: HostProcess, notes: Notebook) => Dialled,
  ): void {
    const address = addresses[index % addresses.length] ?? random.pick(addresses);
    const notes = this.#note(`${kind}${index}`, kind, address);
    const client = new RoamingClient({ hosts, random: random.fork(), dial: (host) => dial(host, notes) });
    this.#clients.push(client);
  }

  #addFramed({ hosts, addresses, random }: AudienceSetup, index: number): void {
    const name = `framed${index}`;
    const own = random.fork();
    // Beginning with another each, so that all topics have about as many.
    const chosen = addresses.map((_, place) => addresses[(index * 3 + place) % addresses.length] ?? "");
    const topics = chosen.slice(0, topicsOfFramed).map((address) => this.#note(name, "framed", address));
    let current: FramedListener | undefined;
    const dial = (host: HostProcess) => {
      current = new FramedListener(host, { name, topics, random: own.fork(), refused: this.refused });
      return current;
    };
    this.#clients.push(new RoamingClient({ hosts, random: own.fork(), dial }));
    this.#speaking.push(this.#speak(name, topics, own.fork(), () => current));
  }

  async #speak(
    name: string,
    topics: readonly Notebook[],
    random: SeededRandom,
    current: () => FramedListener | undefined,
  ): Promise<void> {
    const { signal } = this.#silence;
    const walls = topics.map(({ address }) => address).filter((address) => address.endsWith("/wall"));
    for (let count = 1; ; count += 1) {
      await sleepUnless(signal, random.between(framedEveryMs / 2, framedEveryMs * 1.5)); // its pace
      if (signal.aborted) return;
      if (random.isLucky(turnsShare)) current()?.turnAway();
      const publishing = current()?.publish(random.pick(walls), `${name}:${count}`);
      if (publishing) this.publishings.push(publishing);
    }
  }

  #note(listener: string, kind: ListenerKind, address: string): Notebook {
    const notes = new Notebook(listener, kind, address);
    this.notes.push(notes);
    return notes;
  }
}
