import type { HostConnection, ScriptedHost } from "./scripted-host.ts";

/**
 * WebSockets between a client and scripted hosts, in memory: nothing moves unless a test lets it. Every socket has a line each
 * way, and what is on a line stays in order; which line goes on next is chosen by the test.
 */
export class MemoryNetwork {
  readonly #hosts = new Map<string, ScriptedHost>();
  readonly sockets = new Set<MemorySocket>();
  /** Hosts that cannot be reached: their sockets close with 1006. */
  readonly down = new Set<string>();
  /** Hosts that never answer: their sockets stay on their way. */
  readonly mute = new Set<string>();
  /** How many sockets have been opened, for good or not. */
  dialled: string[] = [];

  constructor(hosts: Readonly<Record<string, ScriptedHost>>) {
    for (const [url, host] of Object.entries(hosts)) this.#hosts.set(new URL(url).host, host);
  }

  /** To be passed to `connect`. */
  get WebSocket(): new (
    address: string,
  ) => object {
    const network = this;
    return class extends MemorySocket {
      constructor(address: string) {
        super(network, address);
      }
    };
  }

  hostAt(address: string): ScriptedHost | undefined {
    return this.#hosts.get(new URL(address).host);
  }

  /** Lines on which something waits. */
  get busy(): Line[] {
    return [...this.sockets].flatMap((socket) => [socket.up, socket.down]).filter((line) => line.length > 0);
  }

  /** Lets one thing arrive. False where nothing is on its way. */
  step(choose: (lines: readonly Line[]) => Line | undefined = ([first]) => first): boolean {
    const line = choose(this.busy);
    line?.shift()?.();
    return line !== undefined;
  }

  /** Lets everything arrive, and whatever follows from it. */
  async settle(): Promise<void> {
    do await turn();
    while (this.step());
  }

  /** Cuts all connections off without a word: what was on its way is lost, and nobody is told. */
  cut(): void {
    for (const socket of this.sockets) socket.cutOff();
  }
}

/** What is on its way in one direction, in order. */
export type Line = (() => void)[];

/** As much of a WebSocket as the client uses. */
export class MemorySocket extends EventTarget {
  readyState = 0;
  bufferedAmount = 0;
  binaryType: BinaryType = "blob";
  readonly protocol = "";
  readonly url: string;
  readonly up: Line = [];
  readonly down: Line = [];
  readonly #network: MemoryNetwork;
  #connection: HostConnection | undefined;
  #isCut = false;

  constructor(network: MemoryNetwork, url: string) {
    super();
    this.url = url;
    this.#network = network;
    network.sockets.add(this);
    const { host } = new URL(url);
    network.dialled.push(host);
    if (network.mute.has(host)) return;
    this.up.push(() => this.#arrive(host));
  }

  send(text: string): void {
    if (this.readyState === 0) throw new DOMException("Still in CONNECTING state.", "InvalidStateError");
    if (this.readyState === 1 && !this.#isCut) this.up.push(() => this.#connection?.receive(text));
  }

  close(code = 1005, reason = ""): void {
    if (code < 3000 && code !== 1000 && code !== 1005) throw new DOMException("", "InvalidAccessError");
    if (this.readyState >= 2) return;
    this.readyState = 2;
    const leave = () => {
      const host = this.#network.hostAt(this.url);
      if (this.#connection) host?.connections.delete(this.#connection);
      this.down.length = 0;
      this.#closed(code, reason);
    };
    if (this.#isCut) this.#network.sockets.delete(this);
    else this.up.push(leave);
  }

  /** The way between the two is gone, and both will only find out by silence. */
  cutOff(): void {
    this.#isCut = true;
    if (this.readyState === 2) this.#network.sockets.delete(this); // its user has done with it
    this.up.length = 0;
    this.down.length = 0;
    const host = this.#network.hostAt(this.url);
    // The host finds out too, sooner or later; nobody hears it.
    if (this.#connection) host?.connections.delete(this.#connection);
  }

  #arrive(name: string): void {
    const host = this.#network.hostAt(this.url);
    if (!host || this.#network.down.has(name)) {
      this.down.push(() => this.#closed(1006, ""));
      return;
    }
    this.down.push(() => {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    });
    this.#connection = host.connect({
      send: (text) => {
        if (!this.#isCut) this.down.push(() => this.#hear(text));
      },
      close: (code, reason) => {
        if (!this.#isCut) this.down.push(() => this.#closed(code, reason));
      },
    });
  }

  #hear(data: string): void {
    if (this.readyState === 1) this.dispatchEvent(new MessageEvent("message", { data }));
  }

  #closed(code: number, reason: string): void {
    this.#network.sockets.delete(this);
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

/** Lets promises run to where they wait for something else. */
export async function turn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
