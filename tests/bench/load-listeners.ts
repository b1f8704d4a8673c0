import type { Socket } from "bun";
import { converse, setupOf } from "./conversation.ts";
import {
  frameIn,
  handshakeFor,
  clientFrame,
  pingFrame,
  pongFrame,
  textFrame,
} from "../support/websocket-frames.ts";

/**
 * Clients of one topic, each on a connection for many (`/-/connect`) over raw TCP. Of what arrives only what a measure asks for
 * is looked at, so that this side is cheaper than the servers.
 */
export interface Listeners {
  readonly clients: number;
  readonly object: string;
  readonly topic: string;
  /** Whether they ask who is there. */
  readonly presence?: true;
}

export type ListenersQuestion =
  /** All connect, and subscribe from where they are. Answered when all have been told, and have heard `missed` messages each. */
  | { readonly ask: "connect"; readonly port: number; readonly missed: number }
  /** Answered when all have heard so many messages each since they connected. */
  | { readonly ask: "heard"; readonly each: number }
  /** What was told of who is there, since the last time. */
  | { readonly ask: "presence" }
  /** Whether or not they are connected, they are at the beginning again. */
  | { readonly ask: "forget" };

export interface ListenersAnswer {
  readonly elapsedMs: number;
  /** Subscriptions that have missed nothing. */
  readonly recovered: number;
  readonly presence: number;
}

const connectsAtOnceMax = 100;
const [messageMark, subscribedMark, presenceMark] = ['{"type":"m', '{"type":"s', '{"type":"p'] as const;

class Client {
  readonly #load: Load;
  readonly #opened = Promise.withResolvers<void>();
  #socket: Socket<Client> | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #isOpen = false;
  position: string | undefined;

  constructor(load: Load, position: string | undefined) {
    this.#load = load;
    this.position = position;
  }

  async open(port: number): Promise<void> {
    this.#socket = await Bun.connect<Client>({
      hostname: "127.0.0.1",
      port,
      data: this,
      socket: {
        data: (socket, bytes) => socket.data.#data(bytes),
        close: () => this.#load.left(),
        error: (_, error) => fail(error.message),
      },
    });
    this.#socket.write(handshake);
    await this.#opened.promise;
  }

  end(): void {
    this.#socket?.end();
  }

  #data(bytes: Buffer): void {
    if (!this.#isOpen) return this.#handshake(bytes);
    let all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    for (let frame = frameIn(all); frame !== undefined; frame = frameIn(all)) {
      this.#frame(all[0] ?? 0, all.subarray(frame.from, frame.to));
      all = all.subarray(frame.to);
    }
    this.#rest = all.length > 0 ? Buffer.from(all) : empty;
  }

  #frame(head: number, payload: Buffer): void {
    if (head === pingFrame) this.#socket?.write(pongFrame);
    if (head !== textFrame) return;
    const mark = payload.toString("latin1", 0, messageMark.length);
    if (mark === messageMark) {
      if (this.#load.keepsPositions) this.position = positionIn(payload) ?? this.position;
      this.#load.heard();
    } else if (mark === subscribedMark) {
      this.position = positionIn(payload) ?? this.position;
      this.#load.subscribed(payload.includes('"recovered":true'));
    } else if (mark === presenceMark) this.#load.told();
    else if (payload.includes('"type":"refused"')) fail(payload.toString());
  }

  #handshake(bytes: Buffer): void {
    const end = bytes.indexOf("\r\n\r\n");
    if (end === -1 || !bytes.toString("latin1").startsWith("HTTP/1.1 101")) fail(bytes.toString("latin1"));
    this.#isOpen = true;
    const { object, topic, presence } = this.#load.setup;
    const since = this.position === undefined ? {} : { since: this.position };
    const asked = { type: "subscribe", id: 1, object, topic, ...since, ...(presence && { presence }) };
    this.#socket?.write(clientFrame(JSON.stringify(asked)));
    this.#opened.resolve();
    const rest = bytes.subarray(end + 4);
    if (rest.length > 0) this.#data(rest);
  }
}

class Load {
  readonly setup: Listeners;
  readonly keepsPositions: boolean;
  #clients: Client[] = [];
  #counts = { subscribed: 0, recovered: 0, heard: 0, presence: 0, left: 0 };
  #isDone: (() => void) | undefined;
  #awaits: () => boolean = () => true;

  constructor(setup: Listeners) {
    this.setup = setup;
    this.keepsPositions = setup.topic === "kept";
  }

  left(): void {
    this.#counts.left += 1;
  }
  told(): void {
    this.#counts.presence += 1;
  }
  heard(): void {
    this.#counts.heard += 1;
    this.#look();
  }
  subscribed(hasRecovered: boolean): void {
    this.#counts.subscribed += 1;
    if (hasRecovered) this.#counts.recovered += 1;
    this.#look();
  }

  async answer(question: ListenersQuestion): Promise<ListenersAnswer> {
    const startMs = performance.now();
    const { clients } = this.setup;
    switch (question.ask) {
      case "connect": {
        this.#counts = { ...this.#counts, subscribed: 0, recovered: 0, heard: 0 };
        const told = this.#until(() => {
          const { subscribed, heard } = this.#counts;
          return subscribed === clients && heard >= question.missed * clients;
        });
        await this.#connect(question.port);
        await told;
        break;
      }
      case "heard":
        await this.#until(() => this.#counts.heard >= question.each * clients);
        break;
      case "forget":
        for (const client of this.#clients) client.end();
        this.#clients = [];
        break;
      case "presence":
        break;
    }
    const { recovered, presence } = this.#counts;
    if (question.ask === "presence") this.#counts.presence = 0;
    return { elapsedMs: performance.now() - startMs, recovered, presence };
  }

  async #connect(port: number): Promise<void> {
    const { clients } = this.setup;
    const before = this.#clients;
    this.#clients = Array.from({ length: clients }, (_, index) => new Client(this, before[index]?.position));
    for (let from = 0; from < clients; from += connectsAtOnceMax)
      await Promise.all(
        this.#clients.slice(from, from + connectsAtOnceMax).map((client) => client.open(port)),
      );
  }

  #until(awaits: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaits = awaits;
    this.#isDone = resolve;
    this.#look();
    return promise;
  }

  #look(): void {
    if (!this.#awaits()) return;
    this.#isDone?.();
    this.#isDone = undefined;
  }
}

const empty = Buffer.alloc(0);
const handshake = handshakeFor("/-/connect");

function positionIn(payload: Buffer): string | undefined {
  return /"position":"([^"]+)"/.exec(payload.toString())?.[1];
}

function fail(message: string): never {
  console.error(`load-listeners: ${message}`);
  process.exit(1);
}

if (import.meta.main) {
  const setup = setupOf<Listeners>();
  const load = new Load(setup);
  converse<ListenersQuestion>({ clients: setup.clients }, (question) => load.answer(question));
}
