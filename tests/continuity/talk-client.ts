import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import type { Closing, Connection, Heard, Sent } from "./conversation.ts";
import type { Told } from "./objects/_talk.ts";

/** A dial that is not answered by then is given up, and another edge tried. */
const dialLimitMs = 3_000;
/** A last word that is not answered by then may have been lost with a fault, and another one is said. */
const lastWordPatienceMs = 1_500;
const failedDialsMax = 10_000;

export interface TalkClientSetup {
  readonly name: string;
  /** `/talk/x`. */
  readonly object: string;
  /** Where it connects, as long as that works. */
  readonly home: HostProcess;
  readonly hosts: readonly HostProcess[];
  readonly random: SeededRandom;
  /** Between two messages, on the average. */
  readonly everyMs: number;
}

/** One connection while it is being recorded. */
interface Recording extends Connection {
  readonly sent: Sent[];
  readonly heard: Heard[];
  closing: Closing | undefined;
}

/**
 * A client with a socket: it sends numbered messages, writes down all that it sends and hears, and connects again only when
 * its socket is closed. It never sends a message a second time, so each one that is handled twice is the machinery's doing.
 */
export class TalkClient {
  readonly connections: Connection[] = [];
  readonly name: string;
  /** Dials that came to nothing, by what was seen of them. */
  readonly failedDials = new Map<string, number>();
  readonly #setup: TalkClientSetup;
  readonly #stop = new AbortController();
  #socket: WebSocket | undefined;
  #current: Recording | undefined;
  #n = 0;
  #answers = 0;
  #isSilent = false;
  #running: Promise<unknown> | undefined;

  constructor(setup: TalkClientSetup) {
    this.#setup = setup;
    this.name = setup.name;
  }

  start(): void {
    this.#running = Promise.all([this.#stayConnected(), this.#speak()]);
  }

  get home(): HostProcess {
    return this.#setup.home;
  }
  get isOpen(): boolean {
    return this.#current !== undefined;
  }
  /** Messages that were sent so far. */
  get sent(): number {
    return this.#n;
  }
  /** Answers that it has heard so far. */
  get answers(): number {
    return this.#answers;
  }
  /** Where it is connected, by the host's id. */
  get edge(): string | undefined {
    return this.#current?.edge;
  }
  /** The last number of the topic that its present connection knows of, and in which life. */
  get topicEnd(): { readonly life: string; readonly number: number } | undefined {
    return this.#current?.heard.findLast(({ kind }) => kind !== "echo");
  }

  /** Says no more by itself; what it hears is still written down. */
  silence(): void {
    this.#isSilent = true;
  }

  /** Speaks again after `silence`. */
  speak(): void {
    this.#isSilent = false;
  }

  /**
   * Says one thing more, and resolves once that is answered: what was sent before it on this connection has been answered by
   * then, or never will be, because answers come in order.
   */
  async lastWord(limitMs: number): Promise<void> {
    this.silence();
    let saidAtMs = Number.NEGATIVE_INFINITY;
    let word = 0;
    await until(
      `${this.name}, at ${this.edge}, is answered a last time`,
      () => {
        const { heard, sent } = this.#current ?? {};
        if (heard?.some((told) => told.kind === "echo" && told.n === word)) return true;
        const isOnItsWay = sent?.at(-1)?.n === word && performance.now() - saidAtMs < lastWordPatienceMs;
        if (isOnItsWay || !this.#say()) return false;
        word = this.#n;
        saidAtMs = performance.now();
        return false;
      },
      limitMs,
    );
  }

  /** Hangs up. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#socket?.close();
    await this.#running;
  }

  async #speak(): Promise<void> {
    const { everyMs, random } = this.#setup;
    while (!this.#stop.signal.aborted) {
      await Bun.sleep(random.between(everyMs / 2, everyMs * 1.5)); // its pace, which is what the load consists of
      if (!this.#isSilent) this.#say();
    }
  }

  /** False while there is no connection. */
  #say(): boolean {
    const { client, sent } = this.#current ?? {};
    if (client === undefined || this.#socket?.readyState !== WebSocket.OPEN || this.#stop.signal.aborted)
      return false;
    this.#n += 1;
    sent?.push({ n: this.#n, atMs: performance.now() });
    this.#socket.send(JSON.stringify({ client, n: this.#n }));
    return true;
  }

  async #stayConnected(): Promise<void> {
    const { home, hosts, random } = this.#setup;
    let next = home;
    while (!this.#stop.signal.aborted) {
      const ended = await this.#connect(next);
      if (ended !== "closed" && this.failedDials.size < failedDialsMax)
        this.failedDials.set(ended, (this.failedDials.get(ended) ?? 0) + 1);
      await Bun.sleep(random.between(20, 120)); // as a client does that was hung up on
      const ready = hosts.filter(({ isReady }) => isReady);
      next = ended === "closed" && home.isReady ? home : ready.length > 0 ? random.pick(ready) : home;
    }
  }

  /** Resolves when the connection has ended, or did not come about: then with why. */
  #connect(host: HostProcess): Promise<string> {
    const { object, name } = this.#setup;
    const connection: Recording = {
      ...{ client: name, edge: host.id, dialledAtMs: performance.now() },
      ...{ sent: [], heard: [], closing: undefined },
    };
    const socket = new WebSocket(host.socketUrl(`${object}/live`));
    this.#socket = socket;
    return new Promise((resolve) => {
      let isOpen = false;
      const limit = setTimeout(() => {
        socket.close();
        resolve("no answer");
      }, dialLimitMs);
      socket.addEventListener("open", () => {
        isOpen = true;
        clearTimeout(limit);
        this.connections.push(connection);
        this.#current = connection;
      });
      socket.addEventListener("message", ({ data }) => this.#hear(connection, String(data)));
      socket.addEventListener("error", () => undefined); // Its close says it too.
      socket.addEventListener("close", ({ code, reason }) => {
        clearTimeout(limit);
        if (!this.#stop.signal.aborted) connection.closing = { code, reason, atMs: performance.now() };
        if (this.#current === connection) this.#current = undefined;
        resolve(isOpen ? "closed" : `${code} ${reason}`);
      });
    });
  }

  #hear(connection: Recording, data: string): void {
    const told: Told = JSON.parse(data); // as the class tells
    if (told.kind === "echo") this.#answers += 1;
    connection.heard.push({ ...told, atMs: performance.now() });
  }
}
