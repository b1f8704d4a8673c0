import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { type SwitchSetting, switchFileVariable, switchPollMs } from "./switch-ways.ts";

/**
 * Loaded by `bun --preload` before a host process of a test: puts a switch into every WebSocket that the host dials, which
 * is what its links consist of. What a cut way would lose is held back, since TCP would send it again, and let go once the way
 * is healed; a dial over a cut way goes to a server that takes it and never answers.
 */
let setting: SwitchSetting = { to: [], from: [] };
let text = "";
const dialled = new Set<SwitchedSocket>();

/** Takes connections and says nothing. */
const silence = createServer((socket) => socket.on("error", () => socket.destroy()));
silence.listen(0, "127.0.0.1").unref();

type Message = Parameters<WebSocket["send"]>[0];

class SwitchedSocket extends WebSocket {
  readonly #port: number;
  readonly #outgoing: Message[] = [];
  readonly #incoming: MessageEvent[] = [];
  #listener: ((event: MessageEvent) => unknown) | null = null;

  constructor(url: string | URL, options?: string | string[]) {
    const port = Number(new URL(url).port);
    const isCut = setting.to.includes(port) || setting.from.includes(port);
    super(isCut ? `ws://127.0.0.1:${silentPort()}/` : url, options);
    this.#port = port;
    dialled.add(this);
    this.addEventListener("close", () => dialled.delete(this));
    super.addEventListener("message", (event) => {
      if (this.#incoming.length > 0 || setting.from.includes(this.#port)) this.#incoming.push(event);
      else this.#listener?.(event);
    });
  }

  override send(message: Message): void {
    if (this.#outgoing.length === 0 && !setting.to.includes(this.#port)) return super.send(message);
    // The host may use its bytes again as soon as this returns.
    this.#outgoing.push(ArrayBuffer.isView(message) ? Uint8Array.from(bytesOf(message)) : message);
  }

  override set onmessage(listener: ((event: MessageEvent) => unknown) | null) {
    this.#listener = listener;
  }
  override get onmessage(): ((event: MessageEvent) => unknown) | null {
    return this.#listener;
  }

  /** Lets go what may pass now. */
  look(): void {
    if (!setting.to.includes(this.#port) && this.readyState === WebSocket.OPEN)
      for (const message of this.#outgoing.splice(0)) super.send(message);
    if (!setting.from.includes(this.#port))
      for (const event of this.#incoming.splice(0)) this.#listener?.(event);
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function silentPort(): number {
  const address = silence.address();
  if (address === null || typeof address === "string")
    throw new Error("a TCP server has an address with a port");
  return address.port;
}

function look(): void {
  const next = readFileSync(process.env[switchFileVariable] ?? "", "utf8");
  if (next === text) return;
  text = next;
  setting = JSON.parse(next); // written by SwitchWays
  for (const socket of dialled) socket.look();
}

look();
setInterval(look, switchPollMs).unref();
globalThis.WebSocket = SwitchedSocket;
