/** Hooks for React 18 and later. They hold no connection of their own: all share the client's. */
import { useMemo, useSyncExternalStore } from "react";
import type { AnyObjectClass } from "../../infra/object/index.ts";
import type { Client, NameOf, RemoteObject } from "./client.ts";
import type { ClientError } from "./errors.ts";
import type { ConnectionState } from "./kept-connection.ts";
import type { Presence } from "./presence.ts";
import type { SubscribeOptions, Subscription } from "./subscription.ts";
import type { Topic } from "./topic.ts";
import type { TopicsOf } from "./topics-of.ts";

/** The object `id` of a class: the same handle as long as the three are the same. */
export function useObject<Class extends AnyObjectClass = AnyObjectClass>(
  client: Client,
  name: NameOf<Class>,
  id: string,
): RemoteObject<Class> {
  return useMemo(() => client.object<Class>(name, id), [client, name, id]);
}

/** The connection for topics, for a sign that says so when it is down. */
export function useConnection(client: Client): ConnectionState {
  const { subscribe, now } = useMemo(
    () => ({ subscribe: (changed: () => void) => client.on("state", changed), now: () => client.state }),
    [client],
  );
  return useSyncExternalStore(subscribe, now, now);
}

export interface TopicHookOptions extends Pick<SubscribeOptions, "since" | "presence" | "query"> {
  /** How many of the latest messages are kept, 1 or more. Default 100. */
  readonly messagesMax?: number | undefined;
}

/** What a component knows of a topic. A new object whenever something of it changes. */
export interface TopicView<Message> {
  /** The latest, oldest first. */
  readonly messages: readonly Message[];
  readonly last: Message | undefined;
  readonly position: string | undefined;
  readonly state: Subscription["state"];
  /** Of the last time that it was subscribed; see `subscribed` of `SubscriptionEvents`. */
  readonly recovered: boolean | undefined;
  /** How often messages were missing so far, `skipped` ones included. An effect that depends on it reads again. */
  readonly gaps: number;
  /** For those who asked for it. */
  readonly presence: Presence | undefined;
  /** Why it has ended: `refused` or `ended`. */
  readonly error: ClientError | undefined;
  /** See `Topic.publish`. */
  readonly publish: Topic<Message>["publish"];
}

/**
 * Listens to a topic while the component is mounted. `since` counts when it begins, and not when it changes. A component that is
 * hidden and shown again goes on where it was, if the topic has a history.
 */
export function useTopic<Class extends AnyObjectClass, Name extends keyof TopicsOf<Class> & string>(
  object: RemoteObject<Class>,
  name: Name,
  options: TopicHookOptions = {},
): TopicView<TopicsOf<Class>[Name]> {
  const { client, key } = object;
  const { presence, messagesMax } = options;
  const query = JSON.stringify(options.query);
  // biome-ignore lint/correctness/useExhaustiveDependencies: handles and options are made anew for each render; these values say whether they mean the same
  const store = useMemo(
    () => new TopicStore(object.topic(name), options),
    [client, key, name, presence, messagesMax, query],
  );
  return useSyncExternalStore(store.subscribe, store.now, store.now);
}

/** A topic as `useSyncExternalStore` wants it. It listens while somebody looks; mounting twice, as StrictMode does, is no gap. */
class TopicStore<Message> {
  readonly #topic: Topic<Message>;
  readonly #options: TopicHookOptions;
  readonly #watchers = new Set<() => void>();
  #view: TopicView<Message>;
  #stop: Subscription | undefined;

  constructor(topic: Topic<Message>, options: TopicHookOptions) {
    this.#topic = topic;
    this.#options = options;
    this.#view = {
      messages: [],
      last: undefined,
      position: undefined,
      state: "waiting",
      recovered: undefined,
      gaps: 0,
      presence: undefined,
      error: undefined,
      publish: topic.publish.bind(topic),
    };
  }

  readonly now = (): TopicView<Message> => this.#view;

  readonly subscribe = (changed: () => void): (() => void) => {
    this.#watchers.add(changed);
    this.#stop ??= this.#listen();
    return () => {
      this.#watchers.delete(changed);
      if (this.#watchers.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
    };
  };

  #listen(): Subscription {
    const since = this.#view.position ?? this.#options.since;
    const { messagesMax = 100 } = this.#options;
    const subscription = this.#topic.subscribe(
      (message, { position }) => {
        const messages = [...this.#view.messages, message].slice(-Math.max(1, messagesMax));
        this.#change({ messages, last: message, position });
      },
      { ...this.#options, since },
    );
    const missed = () => this.#change({ gaps: this.#view.gaps + 1 });
    const over = ({ error }: { readonly error: ClientError }) => this.#change({ state: "ended", error });
    subscription.on("subscribed", ({ position, recovered }) =>
      this.#change({ state: "subscribed", recovered, position }),
    );
    subscription.on("waiting", () => this.#change({ state: "waiting" }));
    subscription.on("gap", missed);
    subscription.on("skipped", missed);
    subscription.on("presence", (presence) => this.#change({ presence }));
    subscription.on("refused", over);
    subscription.on("ended", over);
    return subscription;
  }

  #change(change: Partial<TopicView<Message>>): void {
    this.#view = { ...this.#view, ...change };
    for (const changed of [...this.#watchers]) changed();
  }
}
