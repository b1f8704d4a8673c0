import { isClassName } from "../lib/object-ref.ts";
import type { ObjectHandles, ResourceFactories, StartFacts, StopReason } from "./context.ts";
import { invalidOption as invalid } from "./invalid-option.ts";
import { type AllowedOrigin, Origins } from "./origins.ts";
import type { StorageKeys } from "./storage.ts";
import {
  defineTopics,
  type HistoryLimits,
  historiesOf,
  type TopicDefinition,
  type TopicOptions,
} from "./topic-options.ts";
import type { MessageOf } from "./topic-schema.ts";

/**
 * What a class may set. Every field has a default, so `object("counter")` is a class already.
 */
export interface ObjectOptions<
  State extends object,
  Resources extends ResourceFactories,
  Schemas = UndeclaredTopics,
> {
  /** Makes the state of an object that starts without any. It must be cloneable (HTML standard, structured clone). */
  readonly state?: () => State;

  /**
   * What of `state` survives; see the durability ladder in the README. Default `"memory"`: a cache. `"snapshot"`: saved
   * within 5 s of a change, and when the object stops. `"storage"`: no answer leaves before the change it tells of is safe.
   */
  readonly durability?: Durability;

  /**
   * Version of what the class stores, a whole number; default 1. Where an object's data is older, `migrate` runs before
   * `onStart`. Data of a newer version is not touched: the object does not start here.
   */
  readonly version?: number;

  /** Brings an object's data from version `from` to the class's, once, in a transaction. A throw refuses the start. */
  migrate?(storage: StorageKeys, from: number, state: State): void | Promise<void>;

  /**
   * `"interleaved"` (default): while one handler awaits, others run. `"serial"`: one event at a time, in the order of
   * arrival; it ends when its response is made, which for a stream is when the stream begins.
   */
  readonly concurrency?: "interleaved" | "serial";

  /**
   * Puts an object to sleep after this long without an event, a timer or a stream. Default 60,000; 1,000 or more. Its
   * sockets stay open, at their edges; whatever comes next wakes it.
   */
  readonly idleAfterMs?: number;

  /** Answered at the edge, without waking the object: a text message that equals `request`. For clients' heartbeats. */
  readonly autoResponse?: AutoResponse;

  /** Whether a socket that closes wakes a sleeping object, to run its `close`. Default false. */
  readonly wakeOnClose?: boolean;

  /**
   * Whether client messages that a lost owner had received and not acknowledged are delivered again to the next, which may
   * be their second time. Default false: they are gone, as the memory of that owner is.
   */
  readonly redeliver?: boolean;

  /**
   * What a request meets whose owner was lost and whose lease has not run out yet. `"fail"` (default): 503
   * `owner_unreachable` with Retry-After. `"wait"`: it waits for the next owner, for a lease time and a little more at most.
   */
  readonly onOwnerLost?: "fail" | "wait";

  /**
   * What objects do while the directory cannot confirm their lease. `"stop"` (default): they serve nobody, so that there is
   * one live copy at most. `"serve"`, for `durability: "memory"` only: those that run go on, their answers marked with
   * `stateful-degraded`; another copy may come to life elsewhere meanwhile, and the directory's first word ends one of them.
   */
  readonly onDirectoryLoss?: "stop" | "serve";

  /** How long a planned move waits for handlers that are still open; then it is called off. Default 5,000. */
  readonly moveQuiesceMs?: number;

  /** Where objects may live. Default: on the host nearest to whoever asks first. */
  readonly placement?: PlacementOptions;

  readonly limits?: Partial<ObjectLimits>;

  /**
   * Pages of which origins may open WebSockets and topic streams of the class, subscribe over `/-/connect`, and post to its topics:
   * `["self", "https://app.example", "https://*.app.example"]`. Others get 403 before the class's own code hears of them. Default:
   * any. Set it where cookies say who somebody is. Clients that are no browser send no origin, and are let in.
   */
  readonly origins?: readonly AllowedOrigin[];

  /**
   * Bytes that the object holds outside of `state`, where the machinery cannot see them: in closures, in native memory. Added
   * to what it measures, for `limits.memoryBytesMax` and for the choice of what moves off a full host. Called every few
   * seconds at most; it must be quick. A hint that throws, or is no number of 0 or more, counts as 0.
   */
  memoryHint?(state: State): number;

  /**
   * Topics that are open to the outside, have a schema or are otherwise special. A class that declares none may use any names;
   * one that declares some has those: the compiler takes another name for a slip. One that handlers alone use is `inner: {}`.
   */
  readonly topics?: { readonly [Name in keyof Schemas]: TopicOptions<State, Resources, Schemas[Name]> };

  /** Made once per host at first use, shared by all objects and by all classes that name the same factory. */
  readonly resources?: Resources;

  /**
   * Runs before the first event; no event is delivered until it settles, 30 s at most. A throw refuses the start, and
   * with it the events that waited (`start_failed`).
   */
  onStart?(event: ClassHandles<State, Resources, Schemas> & StartFacts): void | Promise<void>;

  /** Runs when the object stops on purpose, 30 s at most; never after a crash or the loss of the lease. */
  onStop?(
    event: ClassHandles<State, Resources, Schemas> & { readonly reason: StopReason },
  ): void | Promise<void>;

  /** Runs when an alarm is due: see `Alarms`. A throw has it tried again. */
  onAlarm?(event: ClassHandles<State, Resources, Schemas> & AlarmEvent): void | Promise<void>;

  /**
   * Runs before a planned move, 30 s at most, when no handler is open any more. What it returns reaches `onMoveIn` at the next
   * host; it must be cloneable. State, storage, alarms and sockets travel by themselves. A throw calls the move off.
   */
  onMoveOut?(event: ClassHandles<State, Resources, Schemas>): unknown;

  /** Runs at the next host before `onStart`, 30 s at most, with what `onMoveOut` returned. */
  onMoveIn?(
    event: ClassHandles<State, Resources, Schemas> & { readonly carried: unknown },
  ): void | Promise<void>;
}

/**
 * `Schemas` of a class that declares no topics. Of one that does, it has the schema of each by its name, and `unknown` where
 * there is none.
 */
export type UndeclaredTopics = Record<string, unknown>;

/** The handles, with the topics that the class declares. */
export type ClassHandles<
  State extends object,
  Resources extends ResourceFactories,
  Schemas = UndeclaredTopics,
> = ObjectHandles<State, Resources, { [Name in keyof Schemas]: MessageOf<Schemas[Name]> }>;

export interface AutoResponse {
  readonly request: string;
  readonly response: string;
}

/** An alarm that fires. */
export interface AlarmEvent {
  readonly name: string;
  readonly payload: unknown;
  /** 1 for the first attempt. More than 1: an attempt before it failed, or its host was lost. */
  readonly attempt: number;
  /** When it was due. */
  readonly dueAt: Date;
}

export type Durability = "memory" | "snapshot" | "storage";

export interface PlacementOptions {
  /** Default `"nearest"`, or `"pinned"` where `regions` are given. */
  readonly strategy?: "nearest" | "pinned" | "least-loaded";
  /** Region codes the object may live in, `["ams", "fra"]`. Default: anywhere. */
  readonly regions?: readonly string[];
  /**
   * Whether objects move towards a region that most of their events keep coming from. Default true. Under the strategy
   * "pinned", the default where regions are given, they never do, whatever this says: to have them follow within several
   * regions, give `strategy: "nearest"` besides.
   */
  readonly follow?: boolean;
}

/** Limits for one object. Past each of them the caller gets the named error, and the object goes on, but for the last. */
export interface ObjectLimits {
  /** Events open at once, waiting ones included; then `queue_full` (429). Default 1,024. */
  readonly queueLengthMax: number;
  /** Sockets open at once; then `queue_full` (429) at the upgrade. Default 32,768. */
  readonly socketsMax: number;
  /** Bytes of a request body; then `body_too_large` (413). Default 100 MiB. */
  readonly bodyBytesMax: number;
  /** Bytes of one socket message from a client; then the socket is closed with 1009. Default 1 MiB. */
  readonly messageBytesMax: number;
  /** Bytes of one stored value, and of the state, once encoded; then `storage_limit` (413). Default 2 MiB, at most 4. */
  readonly valueBytesMax: number;
  /** Bytes of all keys and values; then `storage_limit` (413). Default: no limit. With one, a put may have to read first. */
  readonly storageBytesMax: number;
  /** Alarms; then `storage_limit` (413). Default 256. */
  readonly alarmsMax: number;
  /**
   * Bytes of memory: state (estimated), cached storage, buffers, and the class's `memoryHint`. Looked at every few seconds;
   * an object over it is stopped with `memory_limit` (507), and starts anew from what is stored. Default: no limit.
   */
  readonly memoryBytesMax: number;
}

export const defaultLimits: ObjectLimits = {
  queueLengthMax: 1024,
  socketsMax: 32_768,
  bodyBytesMax: 100 * 1024 * 1024,
  messageBytesMax: 1024 * 1024,
  valueBytesMax: 2 * 1024 * 1024,
  storageBytesMax: Number.POSITIVE_INFINITY,
  alarmsMax: 256,
  memoryBytesMax: Number.POSITIVE_INFINITY,
};

/** Those that may be `Infinity`. */
const limitsWithoutEnd: readonly string[] = ["storageBytesMax", "memoryBytesMax"];

const valueBytesMost = 4 * 1024 * 1024;
export const lifecycleHookLimitMs = 30_000;
const idleAfterMsDefault = 60_000;
const idleAfterMsMin = 1000;
const moveQuiesceMsDefault = 5000;
const autoResponseCharsMax = 1024;

/** Options with every default filled in: what the machinery reads. */
export interface ClassDefinition {
  readonly name: string;
  readonly state: () => object;
  readonly durability: Durability;
  readonly version: number;
  readonly concurrency: "interleaved" | "serial";
  readonly idleAfterMs: number;
  readonly placement: {
    readonly strategy: "nearest" | "pinned" | "least-loaded";
    readonly regions: readonly string[];
    readonly follow: boolean;
  };
  readonly limits: ObjectLimits;
  /** Absent where pages of any origin may connect. */
  readonly origins: Origins | undefined;
  readonly topics: ReadonlyMap<string, TopicDefinition>;
  /** Of the topics that have one. */
  readonly histories: ReadonlyMap<string, HistoryLimits>;
  readonly resources: ResourceFactories;
  readonly autoResponse: AutoResponse | undefined;
  readonly wakeOnClose: boolean;
  readonly redeliver: boolean;
  readonly onOwnerLost: "fail" | "wait";
  readonly onDirectoryLoss: "stop" | "serve";
  readonly moveQuiesceMs: number;
  readonly onStart: ((event: ErasedHandles & StartFacts) => void | Promise<void>) | undefined;
  readonly onStop:
    | ((event: ErasedHandles & { readonly reason: StopReason }) => void | Promise<void>)
    | undefined;
  readonly onAlarm: ((event: ErasedHandles & AlarmEvent) => void | Promise<void>) | undefined;
  readonly migrate: ((storage: StorageKeys, from: number, state: object) => void | Promise<void>) | undefined;
  readonly memoryHint: ((state: object) => number) | undefined;
  readonly onMoveOut: ((event: ErasedHandles) => unknown) | undefined;
  readonly onMoveIn:
    | ((event: ErasedHandles & { readonly carried: unknown }) => void | Promise<void>)
    | undefined;
}

/** The handles of a class whose types are not known here. */
export type ErasedHandles = ObjectHandles<object, ResourceFactories>;

/** Checks what an author wrote and fills in the defaults. Throws with the class, the field and what to do. */
export function defineClass<State extends object, Resources extends ResourceFactories, Schemas>(
  name: string,
  options: ObjectOptions<State, Resources, Schemas>,
): ClassDefinition {
  if (!isClassName(name)) {
    throw invalid(
      name,
      "name",
      "must be lower-case letters, digits and dashes, begin with a letter, 63 at most",
    );
  }
  const regions = options.placement?.regions ?? [];
  const strategy = options.placement?.strategy ?? (regions.length > 0 ? "pinned" : "nearest");
  if (strategy === "pinned" && regions.length === 0) {
    throw invalid(name, "placement.regions", 'must name at least one region for the strategy "pinned"');
  }
  const idleAfterMs = options.idleAfterMs ?? idleAfterMsDefault;
  if (!(idleAfterMs >= idleAfterMsMin))
    throw invalid(name, "idleAfterMs", `must be ${idleAfterMsMin} or more`);
  const limits = { ...defaultLimits, ...options.limits };
  for (const [limit, value] of Object.entries(limits)) {
    const isNoLimit = limitsWithoutEnd.includes(limit) && value === Number.POSITIVE_INFINITY;
    if (!isNoLimit && (!Number.isInteger(value) || value < 1))
      throw invalid(name, `limits.${limit}`, "must be a whole number above 0");
  }
  if (limits.valueBytesMax > valueBytesMost)
    throw invalid(
      name,
      "limits.valueBytesMax",
      `must be ${valueBytesMost} at most: the directory takes no larger values`,
    );
  const { version = 1, durability = "memory" } = options;
  if (!Number.isInteger(version) || version < 1)
    throw invalid(name, "version", "must be a whole number above 0");
  if (!["memory", "snapshot", "storage"].includes(durability))
    throw invalid(name, "durability", 'must be "memory", "snapshot" or "storage"');
  // The machinery handles all classes alike and so forgets their State and Resources here, in one place; `object()`
  // has tied the hooks, the state factory and the handles to each other in the types already.
  const erased = options as unknown as ObjectOptions<object, ResourceFactories>;
  const topics = defineTopics(name, erased.topics ?? {});
  const life = lifeOf(name, options, durability);
  return {
    name,
    state: erased.state ?? (() => ({})),
    durability,
    version,
    concurrency: options.concurrency ?? "interleaved",
    idleAfterMs,
    placement: { strategy, regions, follow: options.placement?.follow ?? true },
    limits,
    origins: options.origins && new Origins(name, options.origins),
    topics,
    histories: historiesOf(topics),
    resources: erased.resources ?? {},
    onStart: erased.onStart?.bind(erased),
    onStop: erased.onStop?.bind(erased),
    onAlarm: erased.onAlarm?.bind(erased),
    migrate: erased.migrate?.bind(erased),
    memoryHint: erased.memoryHint?.bind(erased),
    onMoveOut: erased.onMoveOut?.bind(erased),
    onMoveIn: erased.onMoveIn?.bind(erased),
    ...life,
    // Whoever leaves while the object sleeps is to be missed by those who watch.
    wakeOnClose: life.wakeOnClose || [...topics.values()].some(({ presence }) => presence !== undefined),
  };
}

/** What says how an object lives on when its host, its edge or the directory does not. */
function lifeOf<State extends object, Resources extends ResourceFactories, Schemas>(
  name: string,
  options: ObjectOptions<State, Resources, Schemas>,
  durability: Durability,
) {
  const { onOwnerLost = "fail", onDirectoryLoss = "stop", moveQuiesceMs = moveQuiesceMsDefault } = options;
  const { autoResponse, wakeOnClose = false, redeliver = false } = options;
  if (!["fail", "wait"].includes(onOwnerLost)) throw invalid(name, "onOwnerLost", 'must be "fail" or "wait"');
  if (!["stop", "serve"].includes(onDirectoryLoss))
    throw invalid(name, "onDirectoryLoss", 'must be "stop" or "serve"');
  if (onDirectoryLoss === "serve" && durability !== "memory")
    throw invalid(name, "onDirectoryLoss", 'may be "serve" only where durability is "memory"');
  if (!(moveQuiesceMs >= 0 && moveQuiesceMs <= lifecycleHookLimitMs))
    throw invalid(name, "moveQuiesceMs", `must be from 0 to ${lifecycleHookLimitMs}`);
  if (autoResponse !== undefined && !isAutoResponse(autoResponse))
    throw invalid(name, "autoResponse", `must be two texts of ${autoResponseCharsMax} characters at most`);
  return { onOwnerLost, onDirectoryLoss, moveQuiesceMs, autoResponse, wakeOnClose, redeliver };
}

function isAutoResponse({ request, response }: AutoResponse): boolean {
  return [request, response].every((text) => typeof text === "string" && text.length <= autoResponseCharsMax);
}
