import { connect, createServer, type Server, type Socket } from "node:net";

/** `open`: connections come and go. `refused`: whoever dials is turned away. */
type Dials = "open" | "refused";

interface Line {
  readonly client: Socket;
  readonly host: Socket;
  isLost: boolean;
}

/** The way from one browser to one host, which a test takes away and gives back. */
export class NetworkWay {
  readonly #server: Server;
  readonly #hostPort: number;
  readonly #lines = new Set<Line>();
  #dials: Dials = "open";

  private constructor(hostPort: number) {
    this.#hostPort = hostPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async open(hostPort: number): Promise<NetworkWay> {
    const way = new NetworkWay(hostPort);
    await new Promise<void>((resolve) => way.#server.listen(0, "127.0.0.1", resolve));
    return way;
  }

  url(path: string): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string")
      throw new Error("a TCP server has an address with a port");
    return `http://127.0.0.1:${address.port}${path}`;
  }

  /** Both ends learn that their connections are gone. */
  breakOff(dials: Dials): void {
    this.#dials = dials;
    for (const { client, host } of this.#lines) {
      client.destroy();
      host.destroy();
    }
  }

  /** Connections are half-open: what either end sends is lost from now on, and neither is told. New ones are refused. */
  loseEverything(): void {
    this.#dials = "refused";
    for (const line of this.#lines) line.isLost = true;
  }

  /** New connections come through. Hosts learn that lost ones are gone: by themselves they would find out within a minute. */
  restore(): void {
    this.#dials = "open";
    for (const { host, isLost } of this.#lines) if (isLost) host.destroy();
  }

  async close(): Promise<void> {
    this.breakOff("refused");
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    if (this.#dials === "refused") {
      client.resetAndDestroy();
      return;
    }
    const line: Line = { client, host: connect(this.#hostPort, "127.0.0.1"), isLost: false };
    this.#lines.add(line);
    carry(line, client, line.host);
    carry(line, line.host, client);
    client.on("close", () => this.#lines.delete(line));
  }
}

/** Bytes, and the end of a connection, from one end to the other. */
function carry(line: Line, from: Socket, to: Socket): void {
  from.on("data", (bytes) => {
    if (!line.isLost) to.write(bytes);
  });
  from.on("error", () => from.destroy());
  from.on("close", () => {
    if (!line.isLost) to.destroy();
  });
}
