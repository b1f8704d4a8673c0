import { channelIdMax } from "./frame.ts";
import type { LinkChannel } from "./link-channel.ts";

/**
 * The open channels of a link. The dialer's have odd ids and the acceptor's even ones, so both may open at any moment
 * without asking.
 */
export class ChannelTable {
  readonly #firstId: 1 | 2;
  readonly #channelsMax: number;
  readonly #channels = new Map<number, LinkChannel>();
  #nextId: number;
  #ownCount = 0;

  constructor(side: "dialer" | "acceptor", channelsMax: number) {
    this.#firstId = side === "dialer" ? 1 : 2;
    this.#nextId = this.#firstId;
    this.#channelsMax = channelsMax;
  }

  get size(): number {
    return this.#channels.size;
  }

  get isFullOfOwn(): boolean {
    return this.#ownCount >= this.#channelsMax;
  }

  get isFullOfPeers(): boolean {
    return this.#channels.size - this.#ownCount >= this.#channelsMax;
  }

  get(id: number): LinkChannel | undefined {
    return this.#channels.get(id);
  }

  /** Whether this side gives out that id. */
  isOwn(id: number): boolean {
    return id % 2 === this.#firstId % 2;
  }

  /** Ids come round again after two thousand million channels; those still in use are passed over. */
  takeId(): number {
    for (;;) {
      const id = this.#nextId;
      this.#nextId = id + 2 > channelIdMax ? this.#firstId : id + 2;
      if (!this.#channels.has(id)) return id;
    }
  }

  add(channel: LinkChannel): void {
    this.#channels.set(channel.id, channel);
    if (this.isOwn(channel.id)) this.#ownCount += 1;
  }

  /** False where it was not there any more. */
  remove(channel: LinkChannel): boolean {
    if (this.#channels.get(channel.id) !== channel) return false;
    this.#channels.delete(channel.id);
    if (this.isOwn(channel.id)) this.#ownCount -= 1;
    return true;
  }

  /** Takes all of them out. */
  clear(): LinkChannel[] {
    const channels = [...this.#channels.values()];
    this.#channels.clear();
    this.#ownCount = 0;
    return channels;
  }
}
