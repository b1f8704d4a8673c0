import { connect, createServer, type Server, type Socket } from "node:net";

/** `flow` passes bytes on; `hold` keeps them until released; `drop` takes them and lets nobody have them. */
export type Passage = "flow" | "hold" | "drop";

/** A TCP proxy whose two directions a test opens and shuts. */
export class TcpProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #held: Array<{
    readonly to: Socket;
    readonly bytes: Buffer;
    readonly way: "requests" | "answers";
  }> = [];
  #requests: Passage = "flow";
  #answers: Passage = "flow";
  #droppedCount = 0;
  /** Added to each direction. */
  delayMs = 0;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string")
      throw new Error("a TCP server has an address with a port");
    return address.port;
  }

  /** Pieces that are being held back. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Pieces that nobody will have. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  requests(passage: Passage): void {
    this.#requests = passage;
    if (passage === "flow") this.#release("requests");
  }

  answers(passage: Passage): void {
    this.#answers = passage;
    if (passage === "flow") this.#release("answers");
  }

  async stop(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const target = connect(this.#targetPort, "127.0.0.1");
    const pair = [client, target] as const;
    this.#pairs.add(pair);
    client.on("data", (bytes: Buffer) => this.#pass("requests", target, bytes));
    target.on("data", (bytes: Buffer) => this.#pass("answers", client, bytes));
    // A client that hangs up does not take back what it has sent: that is what arrives late.
    client.on("error", () => client.destroy());
    target.on("error", () => client.destroy());
    client.on("close", () => this.#hangUp(pair));
    target.on("close", () => client.destroy());
  }

  #hangUp(pair: readonly [Socket, Socket]): void {
    const [, target] = pair;
    if (this.#held.some((piece) => piece.to === target)) return;
    target.end();
    this.#pairs.delete(pair);
  }

  #pass(way: "requests" | "answers", to: Socket, bytes: Buffer): void {
    const passage = way === "requests" ? this.#requests : this.#answers;
    if (passage === "hold") this.#held.push({ to, bytes, way });
    else if (passage === "flow") this.#write(to, bytes);
    else this.#droppedCount += 1;
  }

  #write(to: Socket, bytes: Buffer): void {
    if (this.delayMs === 0) to.write(bytes);
    else setTimeout(() => to.write(bytes), this.delayMs);
  }

  #release(way: "requests" | "answers"): void {
    for (const piece of this.#held.splice(0)) {
      if (piece.way !== way) this.#held.push(piece);
      else if (!piece.to.destroyed) piece.to.write(piece.bytes);
    }
  }
}
