import { connect, createServer, type Server, type Socket } from "node:net";

/** What of an exchange is held back: the message itself, or what the server says from then on. */
export type HeldPart = "request" | "answer";

/**
 * A proxy in front of a libSQL server that holds back one message and lets all others through: a test names it by a text
 * that it contains. Over TCP alone that cannot be told, because a WebSocket's client masks what it sends.
 *
 * What is held holds up all that comes behind it on its connection, as a network would. A client that hangs up meanwhile
 * takes nothing back: the message arrives once it is released.
 */
export class MessageProxy {
  readonly #server: Server;
  readonly #wires = new Set<Wire>();
  readonly #holds: Hold[] = [];
  #isShut = false;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      const wire = new Wire(client, connect(targetPort, "127.0.0.1"), (message) => this.#holdOf(message));
      if (this.#isShut) wire.shut();
      this.#wires.add(wire);
    });
  }

  static async start(targetPort: number): Promise<MessageProxy> {
    const proxy = new MessageProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string")
      throw new Error("a TCP server has an address with a port");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Holds the next message that contains `text`; of several holds for one text each takes one message. */
  hold(text: string, part: HeldPart): Hold {
    const hold = new Hold(text, part);
    this.#holds.push(hold);
    return hold;
  }

  /** Nothing passes, in either direction, until `open`. */
  shut(): void {
    this.#isShut = true;
    for (const wire of this.#wires) wire.shut();
  }

  open(): void {
    this.#isShut = false;
    for (const wire of this.#wires) wire.open();
  }

  async stop(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #holdOf(message: Buffer): Hold | undefined {
    return this.#holds.find((hold) => !hold.isTaken && message.includes(hold.text));
  }
}

/** One message that is, or will be, held back. */
export class Hold {
  readonly text: string;
  readonly part: HeldPart;
  #wire: Wire | undefined;

  constructor(text: string, part: HeldPart) {
    this.text = text;
    this.part = part;
  }

  /** Whether it has found its message. */
  get isTaken(): boolean {
    return this.#wire !== undefined;
  }
  /** Whether what it is to hold has come: for an answer, that the server has said something. */
  get hasCaught(): boolean {
    return this.#wire !== undefined && (this.part === "request" || this.#wire.heldAnswers > 0);
  }
  /** Pieces that the server has sent on this connection since the release. */
  get answersSince(): number {
    return this.#wire?.answersSinceRelease ?? 0;
  }

  take(wire: Wire): void {
    this.#wire = wire;
  }

  release(): void {
    this.#wire?.release(this.part);
  }
}

/** One connection. */
class Wire {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #requests: Lane;
  readonly #answers: Lane;
  readonly #reader = new MessageReader();
  readonly #holdOf: (message: Buffer) => Hold | undefined;
  answersSinceRelease = 0;

  constructor(client: Socket, target: Socket, holdOf: (message: Buffer) => Hold | undefined) {
    this.#client = client;
    this.#target = target;
    this.#holdOf = holdOf;
    this.#requests = new Lane(target);
    this.#answers = new Lane(client);
    client.on("data", (bytes: Buffer) => this.#ask(bytes));
    target.on("data", (bytes: Buffer) => this.#answer(bytes));
    client.on("error", () => client.destroy());
    target.on("error", () => client.destroy());
    client.on("close", () => this.#hangUp());
    target.on("close", () => client.destroy());
  }

  get heldAnswers(): number {
    return this.#answers.length;
  }

  shut(): void {
    this.#requests.isShut = true;
    this.#answers.isShut = true;
  }

  open(): void {
    this.#requests.isShut = false;
    this.#answers.isShut = false;
    this.#requests.flush();
    this.#answers.flush();
  }

  release(part: HeldPart): void {
    this.answersSinceRelease = 0;
    if (part === "request") return this.#requests.letOneGo();
    this.#answers.isHeld = false;
    this.#answers.flush();
  }

  destroy(): void {
    this.#client.destroy();
    this.#target.destroy();
  }

  #ask(bytes: Buffer): void {
    for (const { raw, content } of this.#reader.read(bytes)) {
      const hold = this.#holdOf(content);
      hold?.take(this);
      if (hold?.part === "request") this.#requests.isHeld = true;
      if (hold?.part === "answer") this.#answers.isHeld = true;
      this.#requests.pass(raw);
    }
  }

  /** What was said behind a message that was held, as good-bye, follows it once it has been answered, and not before. */
  #answer(bytes: Buffer): void {
    this.answersSinceRelease += 1;
    this.#answers.pass(bytes);
    if (!this.#requests.hasLetOneGo) return;
    this.#requests.isHeld = false;
    this.#requests.flush();
  }

  #hangUp(): void {
    if (this.#requests.length === 0) this.#target.end();
  }
}

/** One direction of a connection. */
class Lane {
  readonly #to: Socket;
  readonly #waiting: Buffer[] = [];
  isHeld = false;
  isShut = false;
  hasLetOneGo = false;

  constructor(to: Socket) {
    this.#to = to;
  }

  get length(): number {
    return this.#waiting.length;
  }

  pass(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.flush();
  }

  letOneGo(): void {
    const [first] = this.#waiting.splice(0, 1);
    if (first && !this.#to.destroyed) this.#to.write(first);
    this.hasLetOneGo = true;
  }

  flush(): void {
    if (this.isHeld || this.isShut) return;
    for (const bytes of this.#waiting.splice(0)) if (!this.#to.destroyed) this.#to.write(bytes);
  }
}

interface Message {
  /** As it came. */
  readonly raw: Buffer;
  /** As it was meant. */
  readonly content: Buffer;
}

const headEnd = "\r\n\r\n";

/** Cuts what a client sends into messages: a WebSocket's into frames (RFC 6455, section 5.2), HTTP's as it comes. */
class MessageReader {
  #isSocket = false;
  #rest = Buffer.alloc(0);

  read(bytes: Buffer): Message[] {
    if (this.#isSocket) return this.#frames(bytes);
    const end = bytes.indexOf(headEnd);
    const head = bytes.subarray(0, end + headEnd.length);
    const asksForSocket = /^upgrade: *websocket/im;
    if (end < 0 || !asksForSocket.test(head.toString("latin1"))) return [{ raw: bytes, content: bytes }];
    this.#isSocket = true;
    return [{ raw: head, content: head }, ...this.#frames(bytes.subarray(head.length))];
  }

  #frames(bytes: Buffer): Message[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const frames: Message[] = [];
    for (;;) {
      const frame = frameAt(this.#rest);
      if (frame === undefined) return frames;
      frames.push(frame);
      this.#rest = this.#rest.subarray(frame.raw.length);
    }
  }
}

const maskLength = 4;

/** The frame that the bytes begin with; undefined while it is not whole. */
function frameAt(bytes: Buffer): Message | undefined {
  const [, second] = bytes;
  if (second === undefined) return undefined;
  const short = second & 0x7f;
  const lengthEnd = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < lengthEnd) return undefined;
  const length =
    short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  const isMasked = (second & 0x80) !== 0;
  const start = lengthEnd + (isMasked ? maskLength : 0);
  if (bytes.length < start + length) return undefined;
  const content = Buffer.from(bytes.subarray(start, start + length));
  if (isMasked)
    for (const [index, byte] of content.entries())
      content[index] = byte ^ (bytes[lengthEnd + (index % maskLength)] ?? 0);
  return { raw: bytes.subarray(0, start + length), content };
}
