import type { EdgeName } from "../host/edge-port.ts";
import { moveBytesMax } from "../host/move-package.ts";
import type { Arrival, Arrivals, MoveConversation, MoveOffer, MovePeers } from "../host/move-ports.ts";
import type { HostRecord } from "../lease/directory.ts";
import { type Clock, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "../link/link.ts";
import { packValue, unpackChecked } from "../link/msgpack.ts";
import { isOlderVersion, versionTag } from "../placement/version-order.ts";
import { decodeMoveOffer, encodeMoveOffer } from "./move-offer.ts";

/**
 * How a planned move travels (rule L7): `MovePeers` and `Arrivals` over one channel of the link between two hosts.
 *
 *   source                                    target
 *   open(offer)                         →
 *                                       ←     prepared                  or closed, with why not
 *   size                                →                               or closed, where that is too much beside what else comes
 *   part, part, … partEnd               →                               within the channel's window
 *                                       ←     ready                     or closed, with why not
 *   … the compare-and-set, at the primary …
 *   go(epoch), closed                   →     starts
 *
 * What ends the channel says how it stands. Closed by the source with `move_failed`: it lives on there. In any other way
 * without `go`, as when a host or the link is lost: nobody has said, and the target asks the primary.
 */
export const movePurpose = "move";

/** An earlier version sends no `size`: then the target counts what comes. */
export const fromSource = { part: 1, partEnd: 2, go: 3, size: 4 } as const;
export const fromTarget = { prepared: 16, ready: 17 } as const;

/** An object travels in parts of this size: what is urgent on the link passes in between. */
export const movePartBytesMax = 64 * 1024;

/**
 * From asking for the link until the target has said whether it takes the object: the one limit of this step, the source's own
 * side has none besides. Three of them, for three targets that do not answer, fit into what a drain has for its moves.
 */
export const prepareLimitMs = 4_500;

const nothing = new Uint8Array();

export interface MoveLinksSetup {
  readonly links: { to(host: HostRecord): Promise<Link> };
  readonly clock: Clock;
}

/** The source's end. */
export class MoveLinks implements MovePeers {
  readonly #setup: MoveLinksSetup;

  constructor(setup: MoveLinksSetup) {
    this.#setup = setup;
  }

  async begin(target: HostRecord, offer: MoveOffer): Promise<MoveConversation> {
    const { links, clock } = this.#setup;
    const late = () => unreachable(`${target.hostId} has not answered within ${prepareLimitMs} ms.`);
    const deadlineMs = clock.monotonicMs() + prepareLimitMs;
    const link = await withTimeLimit(clock, prepareLimitMs, links.to(target).catch(refusedLink), late);
    const moving = new MovingObject(link, offer);
    const remainingMs = Math.max(0, deadlineMs - clock.monotonicMs());
    try {
      await withTimeLimit(clock, remainingMs, moving.prepared, late);
      return moving;
    } catch (thrown) {
      const error = asStatefulError(thrown);
      moving.cancel(error, false);
      // Nothing was handed over yet: that the link broke leaves nothing open.
      throw error.code === "outcome_unknown" ? unreachable("Its host was lost.", error) : error;
    }
  }
}

class MovingObject implements ChannelHandlers, MoveConversation {
  readonly #channel: Channel;
  readonly #prepared = Promise.withResolvers<void>();
  readonly #ready = Promise.withResolvers<void>();

  constructor(link: Link, offer: MoveOffer) {
    // Whoever waits hears of it; where nobody does yet, the next call does.
    this.#prepared.promise.catch(ignore);
    this.#ready.promise.catch(ignore);
    this.#channel = link.open(movePurpose, encodeMoveOffer(offer), this);
  }

  get prepared(): Promise<void> {
    return this.#prepared.promise;
  }

  async deliver(bytes: Uint8Array): Promise<void> {
    await this.#sendBulk(fromSource.size, packValue([bytes.length]));
    for (let from = 0; from < bytes.length; from += movePartBytesMax)
      await this.#sendBulk(fromSource.part, bytes.subarray(from, from + movePartBytesMax));
    await this.#sendBulk(fromSource.partEnd, nothing);
    await this.#ready.promise;
  }

  /** Where this does not get through the target finds out from the primary. */
  go(epoch: number): void {
    this.#channel.send(fromSource.go, packValue([epoch]));
    this.#channel.close();
  }

  cancel(error: StatefulError, isUndecided: boolean): void {
    this.#channel.close(new StatefulError(isUndecided ? "outcome_unknown" : "move_failed", error.message));
  }

  message(channel: Channel, kind: number, payload: Uint8Array | string): void {
    channel.consumed(payload.length);
    if (kind === fromTarget.prepared) this.#prepared.resolve();
    else if (kind === fromTarget.ready) this.#ready.resolve();
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    const why = error ?? new StatefulError("move_failed", "The target has ended the move.");
    this.#prepared.reject(why);
    this.#ready.reject(why);
  }

  async #sendBulk(kind: number, payload: Uint8Array): Promise<void> {
    await this.#channel.writable();
    while (!this.#channel.send(kind, payload)) await this.#channel.writable();
  }
}

export interface ServedMoveSetup {
  readonly arrivals: Arrivals;
  /** Of this host's code. */
  readonly codeVersion: string;
  /** These hold the object's sockets: links to them are there by the time it attaches to them. */
  reach(edges: readonly EdgeName[]): void;
}

/** The target's end. */
export class ServedMove implements ChannelHandlers {
  readonly #arrival: Arrival;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #isDelivered = false;
  #isDecided = false;

  /** @throws StatefulError why this host does not take the object, which refuses the channel. */
  constructor(channel: Channel, head: unknown, { arrivals, codeVersion, reach }: ServedMoveSetup) {
    const offer = decodeMoveOffer(head);
    if (isOlderVersion(codeVersion, offer.codeVersion)) throw olderVersion(codeVersion, offer);
    this.#arrival = arrivals.offered(offer);
    if (!channel.send(fromTarget.prepared, nothing)) {
      this.#arrival.cancelled();
      throw new StatefulError("link_overloaded", "The link between the two hosts is congested.");
    }
    reach(offer.edges);
  }

  message(channel: Channel, kind: number, payload: Uint8Array | string): void {
    channel.consumed(payload.length);
    if (typeof payload === "string") throw malformed("message: text instead of bytes");
    switch (kind) {
      case fromSource.part:
        return this.#part(payload);
      case fromSource.partEnd:
        return this.#deliver(channel);
      case fromSource.go:
        return this.#go(decodeWhole(payload, "epoch"));
      case fromSource.size:
        return this.#reserve(decodeWhole(payload, "size"));
    }
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    this.#parts = [];
    if (error?.code === "move_failed") this.#arrival.cancelled();
    else this.#arrival.undecided();
  }

  #part(part: Uint8Array): void {
    if (this.#isDelivered) throw malformed("object: it goes on after its end");
    this.#bytes += part.length;
    if (part.length > movePartBytesMax) throw malformed(`object: over ${movePartBytesMax} bytes in a part`);
    this.#reserve(this.#bytes);
    this.#parts.push(part);
  }

  #reserve(bytes: number): void {
    if (bytes > moveBytesMax) throw malformed(`object: over ${moveBytesMax} bytes`);
    this.#arrival.reserve(bytes);
  }

  #deliver(channel: Channel): void {
    if (this.#isDelivered) throw malformed("object: it ends twice");
    this.#isDelivered = true;
    const bytes = joined(this.#parts, this.#bytes);
    this.#parts = [];
    this.#arrival.deliver(bytes);
    if (channel.send(fromTarget.ready, nothing)) return;
    // The source is told that it was not ready: it moves nothing, and there is nothing to ask the primary.
    this.#isDecided = true;
    this.#arrival.cancelled();
    throw new StatefulError("link_overloaded", "The link between the two hosts is congested.");
  }

  #go(epoch: number): void {
    if (!this.#isDelivered || this.#isDecided) throw malformed("move: it was not its time to go");
    this.#isDecided = true;
    this.#arrival.go(epoch);
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function decodeWhole(payload: Uint8Array, what: string): number {
  const [value] = unpackedList(payload);
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(what);
}

function unpackedList(payload: Uint8Array): readonly unknown[] {
  try {
    const value = unpackChecked(payload);
    return Array.isArray(value) ? value : [];
  } catch {
    throw malformed("message");
  }
}

function olderVersion(own: string, { ref, codeVersion }: MoveOffer): StatefulError {
  const [older, newer] = [versionTag(own).slice(0, 80), versionTag(codeVersion).slice(0, 80)];
  const message = `${ref.key} cannot move here: this host runs an older version, "${older}", and its owner "${newer}".`;
  return new StatefulError("move_failed", message);
}

/** A link says `not_owner` of a host that is another process by now. Here that would be said of the object. */
function refusedLink(thrown: unknown): never {
  const error = asStatefulError(thrown);
  throw error.code === "not_owner"
    ? new StatefulError("session_over", error.message, { cause: error })
    : error;
}

function unreachable(why: string, cause?: StatefulError): StatefulError {
  return new StatefulError("owner_unreachable", `The target of a move cannot be reached. ${why}`, { cause });
}

function malformed(what: string): StatefulError {
  return new StatefulError("bad_request", `The other host sent a malformed ${what}.`);
}

function ignore(): void {
  // The same error reaches whoever waits.
}
