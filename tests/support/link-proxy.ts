import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * The private network of a cluster, as far as links go: each host has a front of its own, which knows from the signed claims
 * of a dial who dials, and so can be cut off from one host and not from the others.
 */
export class PrivateNetwork {
  readonly #fronts: LinkFront[] = [];
  readonly #cuts = new Set<string>();

  /** To be the host's `privateUrl`. `leadsTo` says where, once the host has a port. */
  async front(hostId: string): Promise<LinkFront> {
    const front = await LinkFront.start(hostId, (dialer) => this.#cuts.has(endsOf(dialer, hostId)));
    this.#fronts.push(front);
    return front;
  }

  /** What the two have between them breaks off, and whatever one sends to the other is refused. */
  cut(one: string, other: string): void {
    this.#cuts.add(endsOf(one, other));
    for (const front of this.#fronts)
      front.hangUpOn((dialer) => endsOf(dialer, front.hostId) === endsOf(one, other));
  }

  heal(one: string, other: string): void {
    this.#cuts.delete(endsOf(one, other));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#fronts.map((front) => front.stop()));
  }
}

/** Takes connections for one host. */
export class LinkFront {
  readonly hostId: string;
  readonly #server: Server;
  readonly #isCutOff: (dialer: string) => boolean;
  /** Who dialled each open connection. */
  readonly #dialers = new Map<Socket, string>();
  readonly #target = Promise.withResolvers<number>();

  private constructor(hostId: string, isCutOff: (dialer: string) => boolean) {
    this.hostId = hostId;
    this.#isCutOff = isCutOff;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(hostId: string, isCutOff: (dialer: string) => boolean): Promise<LinkFront> {
    const front = new LinkFront(hostId, isCutOff);
    await new Promise<void>((resolve) => front.#server.listen(0, "127.0.0.1", resolve));
    return front;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string")
      throw new Error("a TCP server has an address with a port");
    return `http://127.0.0.1:${address.port}`;
  }

  leadsTo(port: number): void {
    this.#target.resolve(port);
  }

  hangUpOn(isMeant: (dialer: string) => boolean): void {
    for (const [client, dialer] of this.#dialers) if (isMeant(dialer)) client.destroy();
  }

  async stop(): Promise<void> {
    this.hangUpOn(() => true);
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    let head = Buffer.alloc(0);
    client.on("error", () => client.destroy());
    const read = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes]);
      if (!head.includes("\r\n\r\n")) return;
      client.off("data", read);
      client.pause();
      void this.#connect(client, head);
    };
    client.on("data", read);
  }

  async #connect(client: Socket, head: Buffer): Promise<void> {
    const dialer = dialerOf(head.toString("latin1"));
    this.#dialers.set(client, dialer);
    client.on("close", () => this.#dialers.delete(client));
    const port = await this.#target.promise;
    if (this.#isCutOff(dialer)) {
      client.destroy();
      return;
    }
    const target = connect(port, "127.0.0.1");
    target.on("error", () => client.destroy());
    target.on("close", () => client.destroy());
    client.on("close", () => target.destroy());
    target.write(head);
    client.pipe(target);
    target.pipe(client);
  }
}

/** Only links pass here, and their claims say who dials. */
function dialerOf(head: string): string {
  const claims = /^authorization: *StatefulLink ([\w-]+)\./im.exec(head)?.[1];
  if (claims === undefined) throw new Error(`not the dial of a link: ${head.slice(0, 200)}`);
  const { hostId }: { readonly hostId: string } = JSON.parse(Buffer.from(claims, "base64url").toString());
  return hostId;
}

function endsOf(one: string, other: string): string {
  return [one, other].sort().join(" ");
}
