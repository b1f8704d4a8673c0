import { callSafely, Emitter } from "./emitter.ts";
import type { ClientError, Closing } from "./errors.ts";
import type { Feed } from "./feed.ts";
import type { Presence } from "./presence.ts";

/**
 * Messages are missing at this place. `lost`: what was said meanwhile cannot be had, and nobody knows how much it was. `skipped`:
 * the host left `count` out, because this client read too slowly and the class allows that. `overflow`: a loop read too
 * slowly, and `count` were dropped here.
 */
export type Gap =
  | { readonly reason: "lost" }
  | { readonly reason: "skipped" | "overflow"; readonly count: number };

export interface SubscriptionEvents {
  /**
   * It stands: the first time, and again after each reconnect. `recovered` is true where nothing was missed since the position
   * that was asked for or heard last, false where something may have been (then `gap` follows), and undefined where there was
   * nothing to recover: the first time, without `since`.
   */
  readonly subscribed: { readonly position: string | undefined; readonly recovered: boolean | undefined };
  /** It stands no longer: the connection is lost, or the object has gone elsewhere. `subscribed` follows, or one of the last. */
  readonly waiting: undefined;
  /** Read again whatever the topic is about. Not told for what the host has `skipped`. */
  readonly gap: Gap;
  readonly skipped: { readonly count: number };
  /** For those who asked for it. */
  readonly presence: Presence;
  /** The last event: the object does not let us subscribe. The error has the problem document. */
  readonly refused: { readonly status: number; readonly error: ClientError };
  /** The last event: it was ended by the host, or with the client (1000). Not told to whoever ended it. */
  readonly ended: Closing & { readonly error: ClientError };
}

/**
 * What `subscribe` returns: call it to end it, as the clean-up of an effect wants it. Events are told from the next turn on,
 * so that none is missed by whoever asks for them at once.
 */
export interface Subscription {
  (): void;
  /** Of the last message, or of where it began; undefined before, and for topics without a history. Keep it to resume. */
  readonly position: string | undefined;
  readonly state: "waiting" | "subscribed" | "ended";
  /** The returned function ends it. */
  on<Type extends keyof SubscriptionEvents>(
    type: Type,
    listener: (event: SubscriptionEvents[Type]) => void,
  ): () => void;
}

export interface SubscribeOptions {
  /** A position that was heard before, or `"oldest"` for all that the topic's history keeps. Default: only what is new. */
  readonly since?: string | undefined;
  /** Whether to be told who listens, where the class declares it. Default false. */
  readonly presence?: boolean | undefined;
  /** For the class's hooks: the query of the request that subscribes. */
  readonly query?: Readonly<Record<string, string>> | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** Where a message stands in its topic's history; undefined where the topic keeps none. */
export interface MessageInfo {
  readonly position: string | undefined;
}

/** One subscriber. It hears what its feed hears, from the moment it joins; several may share a feed. */
export class Listener {
  readonly options: SubscribeOptions;
  readonly events = new Emitter<SubscriptionEvents>();
  readonly #hear: (message: unknown, info: MessageInfo) => void;
  /** Undefined before it joins, and after its end. */
  feed: Feed | undefined;
  #state: Subscription["state"] = "waiting";
  #position: string | undefined;

  constructor(options: SubscribeOptions, hear: (message: unknown, info: MessageInfo) => void) {
    this.options = options;
    this.#hear = hear;
    if (options.since !== oldest) this.#position = options.since;
  }

  get state(): Subscription["state"] {
    return this.#state;
  }

  get position(): string | undefined {
    return this.#position;
  }

  hear(message: unknown, info: MessageInfo): void {
    if (this.#state === "ended") return;
    // First, so that a resume from within the listener does not ask for this message again.
    if (info.position !== undefined) this.#position = info.position;
    callSafely(this.#hear, message, info);
  }

  subscribed(position: string | undefined, recovered: boolean | undefined): void {
    if (this.#state === "ended") return;
    this.#state = "subscribed";
    this.#position = position;
    this.tell("subscribed", { position, recovered });
    if (recovered === false) this.tell("gap", { reason: "lost" });
  }

  waits(): void {
    if (this.#state !== "subscribed") return;
    this.#state = "waiting";
    this.tell("waiting", undefined);
  }

  /** Whoever has ended meanwhile, be it by what another was told, is told nothing more. */
  tell<Type extends keyof SubscriptionEvents>(type: Type, event: SubscriptionEvents[Type]): void {
    if (this.#state !== "ended") this.events.emit(type, event);
  }

  /** By its user, or before the last event. */
  end(): void {
    this.feed = undefined;
    this.#state = "ended";
  }
}

export const oldest = "oldest";
