import type { AnySchema } from "elysia";
import type { ObjectHandles, ResourceFactories } from "./context.ts";
import { invalidOption } from "./invalid-option.ts";
import { isSchema, TopicSchema } from "./topic-schema.ts";

/**
 * What a class says of one of its topics. Who may read and write it from outside, at `/<class>/<id>/-/topics/<topic>`, is
 * nobody by default: only the class's own socket handlers subscribe, and only its handlers publish.
 */
export interface TopicOptions<State extends object, Resources extends ResourceFactories, Schema = unknown> {
  /**
   * What a message is: TypeBox, as by Elysia's `t`, or a Standard Schema validator that does not wait. The compiler holds
   * `topics.publish` to it, and every message is checked by it, a client's as well. Every message is JSON then, a text too;
   * what the schema makes of it is what is sent. Fields that it does not name are dealt with as in `.ws()`.
   */
  readonly schema?: Schema & AnySchema;

  /**
   * Keeps the latest messages, in the object's memory, for those who subscribe late or come back: at most so many, so old,
   * and so many bytes of them. Default: none are kept. With `durability: "storage"` it survives crashes, and a publish waits for
   * its row like any other change.
   */
  readonly history?: HistoryOptions;

  /** Tells subscribers who else is there. Default false. */
  readonly presence?: boolean | PresenceOptions<State, Resources>;

  /** `"server"` (default): clients only listen. `"clients"`: what a client sends to the topic's address is published. */
  readonly publish?: "server" | "clients";

  /**
   * Who gets in at the topic's address. `"handlers"` (default): nobody. `"anyone"`. A function decides for each request, at
   * the owner. Where clients may publish, it decides about that too.
   */
  readonly subscribe?:
    | "handlers"
    | "anyone"
    | ((context: TopicRequest<State, Resources>) => boolean | Promise<boolean>);

  /**
   * What becomes of a subscriber that reads too slowly. `"close"` (default): it is closed with 4408, and misses nothing that it
   * does not know of. `"drop-oldest"`: it is told how many messages were left out. `"conflate"`: it gets the latest only.
   */
  readonly slowReaders?: SlowReaders;
}

export type SlowReaders = "close" | "drop-oldest" | "conflate";

/** Each bound counts alone: a message goes when the first of them is reached. */
export interface HistoryOptions {
  /** Messages, 1 to 10,000. Default 100. */
  readonly count?: number;
  /** Milliseconds since it was published, 1,000 to 86,400,000 (a day). Default 300,000. */
  readonly ageMs?: number;
  /** Bytes of all messages of the topic that are kept, 16 MiB at most. Default 1 MiB. */
  readonly bytes?: number;
}

export interface PresenceOptions<State extends object, Resources extends ResourceFactories> {
  /** What the others are told of a subscriber; asked once, when it subscribes. Default: nothing but that it is there. */
  readonly data?: (context: TopicRequest<State, Resources>) => unknown;
  /** A topic with more subscribers tells how many there are, and not who. 0 to 10,000; default 256. */
  readonly membersMax?: number;
}

/** What a topic's own functions get. Their `topics` takes any name: which there are is known only when all are written. */
export type TopicRequest<State extends object, Resources extends ResourceFactories> = ObjectHandles<
  State,
  Resources
> & {
  readonly request: Request;
  readonly topic: string;
};

/**
 * A topic with the types of its messages, for a class or for several:
 *
 * ```ts
 * topics: { chat: topic({ schema: t.Object({ text: t.String() }), subscribe: "anyone" }) }
 * ```
 *
 * It returns what it gets: options written without it have the same types. A function that reads `state` has to be written
 * without, for only the class knows its state.
 */
export function topic<State extends object, Resources extends ResourceFactories, Schema>(
  options: TopicOptions<State, Resources, Schema>,
): TopicOptions<State, Resources, Schema> {
  return options;
}

/** What a topic keeps of its messages. */
export type HistoryLimits = Required<HistoryOptions>;

/** A declared topic with every default filled in: what the machinery reads. */
export interface TopicDefinition {
  readonly schema: TopicSchema | undefined;
  readonly history: HistoryLimits | undefined;
  readonly presence: TopicPresence | undefined;
  readonly slowReaders: SlowReaders;
  readonly publish: "server" | "clients";
  readonly subscribe: "handlers" | "anyone" | ErasedTopicHook<boolean | Promise<boolean>>;
}

export interface TopicPresence {
  readonly data: ErasedTopicHook<unknown> | undefined;
  readonly membersMax: number;
}

type ErasedTopicHook<Answer> = (context: TopicRequest<object, ResourceFactories>) => Answer;
type ErasedTopicOptions = TopicOptions<object, ResourceFactories>;

const nameLengthMax = 256;
const mebibyte = 1024 * 1024;
const historyRanges = {
  count: { least: 1, most: 10_000, otherwise: 100 },
  ageMs: { least: 1000, most: 86_400_000, otherwise: 300_000 },
  bytes: { least: 1, most: 16 * mebibyte, otherwise: mebibyte },
};
const membersRange = { least: 0, most: 10_000, otherwise: 256 };

/** Checks what an author wrote of the topics of a class and fills in the defaults. */
export function defineTopics(
  className: string,
  topics: Readonly<Record<string, ErasedTopicOptions>>,
): ReadonlyMap<string, TopicDefinition> {
  return new Map(
    Object.entries(topics).map(([name, options]) => {
      const field = `topics.${name.slice(0, 80)}`;
      if (name.length < 1 || name.length > nameLengthMax)
        throw invalidOption(className, field, `must have a name of 1 to ${nameLengthMax} characters`);
      return [name, defineTopic(name, options, (at, what) => invalidOption(className, field + at, what))];
    }),
  );
}

/** The limits of those that keep a history. */
export function historiesOf(
  topics: ReadonlyMap<string, TopicDefinition>,
): ReadonlyMap<string, HistoryLimits> {
  const histories = new Map<string, HistoryLimits>();
  for (const [topic, { history }] of topics) if (history) histories.set(topic, history);
  return histories;
}

type Invalid = (at: string, what: string) => Error;

function defineTopic(name: string, options: ErasedTopicOptions, invalid: Invalid): TopicDefinition {
  const { schema, slowReaders = "close", publish = "server", subscribe = "handlers" } = options;
  if (schema !== undefined && !isSchema(schema))
    throw invalid(".schema", "must be a schema: TypeBox (Elysia's t) or a Standard Schema validator");
  if (!["close", "drop-oldest", "conflate"].includes(slowReaders))
    throw invalid(".slowReaders", 'must be "close", "drop-oldest" or "conflate"');
  if (!["server", "clients"].includes(publish)) throw invalid(".publish", 'must be "server" or "clients"');
  if (typeof subscribe !== "function" && !["handlers", "anyone"].includes(subscribe))
    throw invalid(".subscribe", 'must be "handlers", "anyone" or a function');
  if (publish === "clients" && subscribe === "handlers")
    throw invalid(".publish", 'may be "clients" only where subscribe is "anyone" or a function');
  return {
    schema: schema && new TopicSchema(name, schema),
    history: defineHistory(options.history, invalid),
    presence: definePresence(options.presence, invalid),
    slowReaders,
    publish,
    subscribe,
  };
}

function defineHistory(history: HistoryOptions | undefined, invalid: Invalid): HistoryLimits | undefined {
  if (history === undefined) return undefined;
  const { count, ageMs, bytes } = historyRanges;
  return {
    count: within(count, history.count, ".history.count", invalid),
    ageMs: within(ageMs, history.ageMs, ".history.ageMs", invalid),
    bytes: within(bytes, history.bytes, ".history.bytes", invalid),
  };
}

function definePresence(
  presence: ErasedTopicOptions["presence"],
  invalid: Invalid,
): TopicPresence | undefined {
  if (presence === undefined || presence === false) return undefined;
  const { data, membersMax } = presence === true ? {} : presence;
  if (data !== undefined && typeof data !== "function") throw invalid(".presence.data", "must be a function");
  return { data, membersMax: within(membersRange, membersMax, ".presence.membersMax", invalid) };
}

function within(
  { least, most, otherwise }: { readonly least: number; readonly most: number; readonly otherwise: number },
  value: number | undefined,
  at: string,
  invalid: Invalid,
): number {
  if (value === undefined) return otherwise;
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalid(at, `must be a whole number from ${least} to ${most}`);
}
