import type { Socket } from "bun";
import { frameIn, pongFrame } from "../support/websocket-frames.ts";

/** How a host answered: its status, and of a problem document the code. Status 0: the connection ended without an answer. */
export interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: string | undefined;
}

const lost: Answer = { status: 0, code: undefined, retryAfter: undefined };
const [textKind, binaryKind, closeKind, pingKind] = [1, 2, 8, 9] as const;
/** Of an answer's beginning; of longer ones the rest is counted and forgotten. */
const answerCharsMax = 64 * 1024;
const empty: Buffer = Buffer.alloc(0);

/**
 * One TCP connection of a load, cheaper than the host's side of it and worse behaved than any real client: it may stop reading, send
 * what no client would, and vanish. It understands as much of HTTP and of WebSocket frames as it takes to know how it was answered.
 */
export class RawConnection {
  /** Called with each message that the host sends, its payload. */
  onMessage: ((payload: Buffer) => void) | undefined;
  onClosed: (() => void) | undefined;
  isClosed = false;
  /** What the host said as it closed the WebSocket. */
  closeCode: number | undefined;
  bytesReceived = 0;
  #socket: Socket<RawConnection> | undefined;
  #unsent: Buffer[] = [];
  #head = "";
  #answer: PromiseWithResolvers<Answer> | undefined;
  #isUpgraded = false;
  #rest: Buffer = empty;
  #drained: PromiseWithResolvers<void> | undefined;

  static async open(port: number): Promise<RawConnection> {
    const connection = new RawConnection();
    connection.#socket = await Bun.connect<RawConnection>({
      hostname: "127.0.0.1",
      port,
      data: connection,
      socket: {
        data: (socket, bytes) => socket.data.#received(bytes),
        drain: (socket) => socket.data.#flush(),
        close: (socket) => socket.data.#closed(),
        error: (socket) => socket.data.#closed(),
      },
    });
    return connection;
  }

  /** Sends all of it, some of it later where the host does not read. False where some of it waits. */
  write(bytes: string | Buffer): boolean {
    if (this.isClosed) return false;
    this.#unsent.push(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    this.#flush();
    return this.#unsent.length === 0;
  }

  /** Resolves when nothing waits to be sent any more, or the connection is closed. */
  async sent(): Promise<void> {
    if (this.#unsent.length === 0 || this.isClosed) return;
    this.#drained ??= Promise.withResolvers();
    await this.#drained.promise;
  }

  /** Sends a request, and resolves with how it was answered, whole. One at a time. */
  request(lines: readonly string[], body = ""): Promise<Answer> {
    const answer = this.expect();
    this.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
    return answer;
  }

  /** Resolves with the next answer. */
  expect(): Promise<Answer> {
    if (this.isClosed) return Promise.resolve(lost);
    this.#head = "";
    this.#answer = Promise.withResolvers();
    return this.#answer.promise;
  }

  pause(): void {
    if (!this.isClosed) this.#socket?.pause();
  }
  resume(): void {
    if (!this.isClosed) this.#socket?.resume();
  }
  /** Without a word. */
  destroy(): void {
    this.#socket?.terminate();
    this.#closed();
  }

  #flush(): void {
    while (this.#unsent.length > 0 && !this.isClosed) {
      const [next = empty] = this.#unsent;
      const written = this.#socket?.write(next) ?? 0;
      if (written < next.length) {
        this.#unsent[0] = next.subarray(Math.max(0, written));
        return;
      }
      this.#unsent.shift();
    }
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  #received(bytes: Buffer): void {
    this.bytesReceived += bytes.length;
    if (this.#isUpgraded) return this.#frames(bytes);
    if (this.#answer === undefined) return;
    const room = answerCharsMax - this.#head.length;
    this.#head += bytes.subarray(0, Math.max(0, room)).toString("latin1");
    const headEnd = this.#head.indexOf("\r\n\r\n");
    if (headEnd === -1) return;
    const status = Number(this.#head.slice(9, 12));
    if (status === 101) return this.#upgraded(bytes, headEnd);
    if (!isWhole(this.#head, headEnd)) return;
    this.#settle(answerIn(status, this.#head, headEnd));
  }

  #upgraded(bytes: Buffer, headEnd: number): void {
    this.#isUpgraded = true;
    // What came behind the head in the same piece is frames already.
    const behind = this.#head.length - headEnd - 4;
    this.#settle({ status: 101, code: undefined, retryAfter: undefined });
    if (behind > 0) this.#frames(bytes.subarray(bytes.length - behind));
  }

  #settle(answer: Answer): void {
    const waiting = this.#answer;
    this.#answer = undefined;
    this.#head = "";
    waiting?.resolve(answer);
  }

  #frames(bytes: Buffer): void {
    let all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    for (let frame = frameIn(all); frame !== undefined; frame = frameIn(all)) {
      this.#frame((all[0] ?? 0) & 0x0f, all.subarray(frame.from, frame.to));
      all = all.subarray(frame.to);
    }
    this.#rest = all.length > 0 ? Buffer.from(all) : empty;
  }

  #frame(kind: number, payload: Buffer): void {
    if (kind === textKind || kind === binaryKind) this.onMessage?.(payload);
    else if (kind === pingKind) this.write(pongFrame);
    else if (kind === closeKind) this.closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
  }

  #closed(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#unsent = [];
    this.#drained?.resolve();
    // An answer whose length only its connection tells is whole now.
    const headEnd = this.#head.indexOf("\r\n\r\n");
    const status = Number(this.#head.slice(9, 12));
    this.#settle(headEnd === -1 ? lost : answerIn(status, this.#head, headEnd));
    this.onClosed?.();
  }
}

function isWhole(text: string, headEnd: number): boolean {
  const head = text.slice(0, headEnd);
  const [, length] = /^content-length: *(\d+)/im.exec(head) ?? [];
  if (length !== undefined) return text.length >= Math.min(headEnd + 4 + Number(length), answerCharsMax);
  if (/^transfer-encoding: *chunked/im.test(head))
    return text.endsWith("0\r\n\r\n") || text.length >= answerCharsMax;
  return /^HTTP\/1.1 (?:204|304)/.test(head);
}

function answerIn(status: number, text: string, headEnd: number): Answer {
  const [, code] = /"code":"(\w+)"/.exec(text.slice(headEnd)) ?? [];
  const [, retryAfter] = /^retry-after: *(\S+)/im.exec(text.slice(0, headEnd)) ?? [];
  return { status, code: status >= 400 ? code : undefined, retryAfter };
}
