import type { CancelTimer, Clock } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "../link/link.ts";
import { BodyPump, ReceivedBody } from "./body-stream.ts";
import {
  bytesOf,
  decodeNumber,
  decodeRefusal,
  decodeResponseHead,
  decodeWhole,
  encodeForwardHead,
  type ForwardHead,
  forwardPurpose,
  fromEdge,
  fromOwner,
  type Refusal,
  type ResponseHead,
} from "./forward-protocol.ts";
import { isSafeMethod } from "./http-fields.ts";

/** How an offer to another host ended. */
export type ForwardOutcome =
  | { readonly kind: "response"; readonly response: Response; readonly epoch: number }
  | { readonly kind: "upgraded"; readonly headers: Headers; readonly epoch: number }
  | { readonly kind: "refused"; readonly refusal: Refusal };

export interface Offer {
  readonly head: ForwardHead;
  readonly request: Request;
  /** The owner has accepted the upgrade. `settle` is called when the client is connected, or has left, and the owner knows. */
  readonly upgraded: ((settle: () => void) => void) | undefined;
  readonly clock: Clock;
}

/**
 * How long an offer waits for `accept` or a refusal. The other host may have to take the lease and run `onStart`, which has
 * 30 s, before it can say either; longer only keeps a client waiting for a host that is stuck.
 */
export const acceptTimeoutMs = 45_000;

/**
 * Offers one event to another host and follows it to its end. A refusal can come only before `accept`; after `accept` the
 * event is that host's, nobody sends it again, and losing the host is `outcome_unknown`.
 *
 * Rejects with `owner_unreachable` where the handler certainly did not run or may safely run again, and with
 * `outcome_unknown` otherwise.
 */
export function forward(
  link: Link,
  offer: Offer,
  underWay = new ForwardsUnderWay(),
): Promise<ForwardOutcome> {
  return new Promise((resolve, reject) => {
    const event = new ForwardedEvent(offer, underWay, resolve, reject);
    event.begin(openChannel(link, offer.head, event));
  });
}

/** Events that other hosts serve for this one. */
export class ForwardsUnderWay {
  readonly #events = new Set<Interruptible>();

  add(event: Interruptible): void {
    this.#events.add(event);
  }
  delete(event: Interruptible): void {
    this.#events.delete(event);
  }

  /** The leases of these processes are over: nothing that they may still say is true. */
  ownersGone(processes: ReadonlySet<string>): void {
    const error = new StatefulError("outcome_unknown", "The owner's session is over.");
    for (const event of [...this.#events]) if (processes.has(event.process)) event.interrupt(error);
  }
}

interface Interruptible {
  readonly process: string;
  interrupt(error: StatefulError): void;
}

/** What a link says of itself names sessions and addresses, which are no client's business: it stays as the cause. */
function openChannel(link: Link, head: ForwardHead, handlers: ChannelHandlers): Channel {
  try {
    return link.open(forwardPurpose, encodeForwardHead(head), handlers);
  } catch (thrown) {
    const cause = asStatefulError(thrown);
    if (cause.code === "body_too_large")
      throw new StatefulError("body_too_large", "The head of the request is too large to forward.", {
        cause,
      });
    const message = "The link to the owner's host takes no more requests.";
    throw new StatefulError(cause.code, message, { cause, retryAfterMs: 1000 });
  }
}

type ForwardPhase =
  | { readonly name: "offered" }
  | { readonly name: "accepted" }
  | { readonly name: "responding"; readonly received: ReceivedBody }
  | { readonly name: "upgraded" }
  | { readonly name: "over" };

class ForwardedEvent implements ChannelHandlers, Interruptible {
  readonly #offer: Offer;
  readonly #underWay: ForwardsUnderWay;
  readonly #resolve: (outcome: ForwardOutcome) => void;
  readonly #reject: (error: unknown) => void;
  #channel: Channel | undefined;
  #phase: ForwardPhase = { name: "offered" };
  #epoch = 0;
  #requestBody: BodyPump | undefined;
  #cancelAcceptLimit: CancelTimer | undefined;

  constructor(
    offer: Offer,
    underWay: ForwardsUnderWay,
    resolve: (outcome: ForwardOutcome) => void,
    reject: (error: unknown) => void,
  ) {
    this.#offer = offer;
    this.#underWay = underWay;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get process(): string {
    return this.#channel?.link.peer.session ?? "";
  }

  begin(channel: Channel): void {
    const { signal } = this.#offer.request;
    this.#channel = channel;
    this.#underWay.add(this);
    if (signal.aborted) return this.#clientLeft();
    signal.addEventListener("abort", this.#clientLeft, { once: true });
    this.#cancelAcceptLimit = this.#offer.clock.after(acceptTimeoutMs, () => this.#notAccepted(channel));
  }

  message(channel: Channel, kind: number, payload: Uint8Array | string): void {
    // A body's bytes are consumed when the client reads them; anything else is dealt with here and now.
    if (kind !== fromOwner.body) channel.consumed(payload.length);
    switch (kind) {
      case fromOwner.accept:
        return this.#accepted(channel, decodeNumber(payload));
      case fromOwner.refuse:
        this.#resolve({ kind: "refused", refusal: decodeRefusal(bytesOf(payload)) });
        return this.#finish();
      case fromOwner.whole: {
        const { head, body } = decodeWhole(bytesOf(payload));
        this.#respond(head, body);
        return this.#finish();
      }
      case fromOwner.response:
        return this.#respondStreaming(channel, decodeResponseHead(bytesOf(payload)));
      case fromOwner.upgraded:
        return this.#upgraded(channel, decodeResponseHead(bytesOf(payload)));
      default:
        return this.#bodyMessage(kind, payload);
    }
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    const phase = this.#phase;
    this.#over();
    switch (phase.name) {
      case "offered":
      case "accepted":
        return this.#reject(lostOwner(phase.name, this.#offer.head.method, error));
      case "responding":
        return phase.received.fail(error ?? new StatefulError("outcome_unknown", "The owner was lost."));
      case "upgraded": // The socket has a life of its own.
      case "over":
        return;
    }
  }

  #accepted(channel: Channel, epoch: number): void {
    if (this.#phase.name !== "offered") throw new StatefulError("bad_request", "The owner accepted twice.");
    const { head, request } = this.#offer;
    this.#phase = { name: "accepted" };
    this.#cancelAcceptLimit?.();
    this.#epoch = epoch;
    if (head.body !== "stream" || request.body === null) return;
    this.#requestBody = new BodyPump(request.body, channel, fromEdge);
    void this.#requestBody.run();
  }

  #respondStreaming(channel: Channel, head: ResponseHead): void {
    const received = new ReceivedBody(channel, this.#clientLeft);
    this.#phase = { name: "responding", received };
    this.#respond(head, received.stream);
  }

  #bodyMessage(kind: number, payload: Uint8Array | string): void {
    if (this.#phase.name !== "responding") return; // A message of a kind that this version does not know.
    const { received } = this.#phase;
    if (kind === fromOwner.body) return received.push(bytesOf(payload));
    if (kind === fromOwner.bodyEnd) received.end();
    else if (kind === fromOwner.bodyFailed)
      received.fail(new StatefulError("outcome_unknown", "The response broke off."));
    else return;
    this.#finish();
  }

  #respond(head: ResponseHead, body: Uint8Array | ReadableStream<Uint8Array>): void {
    // Bytes off a link are never shared memory, which is all that BodyInit asks beyond Uint8Array.
    const bytes = body as Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
    const content = hasNoBody(head.status) ? null : bytes;
    const response = new Response(content, {
      status: head.status,
      headers: head.headers.map(([n, v]) => [n, v]),
    });
    // A field of the connection, so it was not forwarded; but without it a 426 says nothing.
    if (head.status === 426) response.headers.set("upgrade", "websocket");
    this.#resolve({ kind: "response", response, epoch: this.#epoch });
  }

  #upgraded(channel: Channel, head: ResponseHead): void {
    const { upgraded, request } = this.#offer;
    // Thrown, not closed: only then do the handlers of this side, and so whoever waits, hear of it.
    if (upgraded === undefined) throw new StatefulError("bad_request", "No upgrade was asked for.");
    this.#phase = { name: "upgraded" };
    this.#underWay.delete(this);
    upgraded(() => channel.close());
    request.signal.removeEventListener("abort", this.#clientLeft);
    this.#resolve({
      kind: "upgraded",
      headers: new Headers(head.headers.map(([n, v]) => [n, v])),
      epoch: this.#epoch,
    });
  }

  /** The owner is gone, though its link may not know it yet. */
  interrupt(error: StatefulError): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    this.closed(channel, error);
    channel.close(error);
  }

  #notAccepted(channel: Channel): void {
    const why = new StatefulError(
      "outcome_unknown",
      `Neither accepted nor refused within ${acceptTimeoutMs} ms.`,
    );
    this.#over();
    this.#reject(lostOwner("offered", this.#offer.head.method, why));
    channel.close(why);
  }

  readonly #clientLeft = (): void => {
    const channel = this.#channel;
    const phase = this.#phase;
    if (phase.name === "over") return;
    this.#over();
    const error = new StatefulError("outcome_unknown", "The client left.");
    if (phase.name === "responding") phase.received.fail(error);
    this.#reject(error);
    channel?.close(error);
  };

  #finish(): void {
    this.#over();
    this.#channel?.close();
  }

  #over(): void {
    this.#phase = { name: "over" };
    this.#underWay.delete(this);
    this.#cancelAcceptLimit?.();
    // The owner wants no more of a request that it has answered.
    this.#requestBody?.stop(undefined);
    this.#offer.request.signal.removeEventListener("abort", this.#clientLeft);
  }
}

/** Losing the other host before its `accept` came says nothing either: the `accept` may be what was lost. */
function lostOwner(
  phase: "offered" | "accepted",
  method: string,
  cause: StatefulError | undefined,
): StatefulError {
  if (phase === "offered" && isSafeMethod(method)) {
    const message = "The owner was lost before it took the request.";
    return new StatefulError("owner_unreachable", message, { cause, retryAfterMs: 1000 });
  }
  return new StatefulError("outcome_unknown", "The owner was lost before it answered; it may have acted.", {
    cause,
  });
}

/** Statuses without content (RFC 9110); `Response` refuses a body for them. */
export function hasNoBody(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}
