import { StatefulError } from "../lib/errors.ts";
import { isClassName } from "../lib/object-ref.ts";
import type { ObjectHandles, ResourceFactories, StartReason, StopReason } from "./context.ts";

/**
 * What a class may set. Every field has a default, so `object("counter")` is a class already.
 */
export interface ObjectOptions<State extends object, Resources extends ResourceFactories> {
  /** Makes the state of an object that starts without any. It must be cloneable (HTML standard, structured clone). */
  readonly state?: () => State;

  /** What survives what; see the durability ladder in the README. Default `"memory"`: a cache. */
  readonly durability?: "memory";

  /**
   * `"interleaved"` (default): while one handler awaits, others run. `"serial"`: one event at a time, in the order of
   * arrival; it ends when its response is made, which for a stream is when the stream begins.
   */
  readonly concurrency?: "interleaved" | "serial";

  /** Stops an object after this long without an event, an open socket or a subscriber. Default 60,000; 1,000 or more. */
  readonly idleAfterMs?: number;

  /** Where objects may live. Default: on the host nearest to whoever asks first. */
  readonly placement?: PlacementOptions;

  readonly limits?: Partial<ObjectLimits>;

  /** Topics that are open to the outside or otherwise special. Topics need no declaration to be used by handlers. */
  readonly topics?: Readonly<Record<string, TopicOptions<State, Resources>>>;

  /** Made once per host at first use, shared by all objects and by all classes that name the same factory. */
  readonly resources?: Resources;

  /**
   * Runs before the first event; no event is delivered until it settles, 30 s at most. A throw refuses the start, and
   * with it the events that waited (`start_failed`).
   */
  onStart?(event: ObjectHandles<State, Resources> & { readonly reason: StartReason }): void | Promise<void>;

  /** Runs when the object stops on purpose, 30 s at most; never after a crash or the loss of the lease. */
  onStop?(event: ObjectHandles<State, Resources> & { readonly reason: StopReason }): void | Promise<void>;
}

export interface PlacementOptions {
  /** Default `"nearest"`, or `"pinned"` where `regions` are given. */
  readonly strategy?: "nearest" | "pinned" | "least-loaded";
  /** Region codes the object may live in, `["ams", "fra"]`. Default: anywhere. */
  readonly regions?: readonly string[];
}

/** Limits for one object. Past each of them the caller gets the named error, and the object goes on. */
export interface ObjectLimits {
  /** Events open at once, waiting ones included; then `queue_full` (429). Default 1,024. */
  readonly queueLengthMax: number;
  /** Sockets open at once; then `queue_full` (429) at the upgrade. Default 32,768. */
  readonly socketsMax: number;
  /** Bytes of a request body; then `body_too_large` (413). Default 100 MiB. */
  readonly bodyBytesMax: number;
  /** Bytes of one socket message from a client; then the socket is closed with 1009. Default 1 MiB. */
  readonly messageBytesMax: number;
}

export const defaultLimits: ObjectLimits = {
  queueLengthMax: 1024,
  socketsMax: 32_768,
  bodyBytesMax: 100 * 1024 * 1024,
  messageBytesMax: 1024 * 1024,
};

export const lifecycleHookLimitMs = 30_000;
const idleAfterMsDefault = 60_000;
const idleAfterMsMin = 1000;

/**
 * Who may read and write a topic from outside, at `/<class>/<id>/-/topics/<topic>`. The default is nobody: only the
 * class's own socket handlers subscribe, and only its handlers publish.
 */
export interface TopicOptions<State extends object, Resources extends ResourceFactories> {
  /** `"handlers"` (default): closed. `"anyone"`: open. A function decides for each request, at the owner. */
  readonly subscribe?:
    | "handlers"
    | "anyone"
    | ((context: TopicRequest<State, Resources>) => boolean | Promise<boolean>);
  /** `"server"` (default): clients only listen. `"clients"`: what a client sends on the endpoint is published. */
  readonly publish?: "server" | "clients";
}

export type TopicRequest<State extends object, Resources extends ResourceFactories> = ObjectHandles<
  State,
  Resources
> & {
  readonly request: Request;
  readonly topic: string;
};

/** Options with every default filled in: what the machinery reads. */
export interface ClassDefinition {
  readonly name: string;
  readonly state: () => object;
  readonly durability: "memory";
  readonly concurrency: "interleaved" | "serial";
  readonly idleAfterMs: number;
  readonly placement: {
    readonly strategy: "nearest" | "pinned" | "least-loaded";
    readonly regions: readonly string[];
  };
  readonly limits: ObjectLimits;
  readonly topics: ReadonlyMap<string, ErasedTopicOptions>;
  readonly resources: ResourceFactories;
  readonly onStart:
    | ((event: ErasedHandles & { readonly reason: StartReason }) => void | Promise<void>)
    | undefined;
  readonly onStop:
    | ((event: ErasedHandles & { readonly reason: StopReason }) => void | Promise<void>)
    | undefined;
}

/** The handles of a class whose types are not known here. */
export type ErasedHandles = ObjectHandles<object, ResourceFactories>;
export type ErasedTopicOptions = TopicOptions<object, ResourceFactories>;

/** Checks what an author wrote and fills in the defaults. Throws with the class, the field and what to do. */
export function defineClass<State extends object, Resources extends ResourceFactories>(
  name: string,
  options: ObjectOptions<State, Resources>,
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
    if (!Number.isInteger(value) || value < 1)
      throw invalid(name, `limits.${limit}`, "must be a whole number above 0");
  }
  // The machinery handles all classes alike and so forgets their State and Resources here, in one place; `object()`
  // has tied the hooks, the state factory and the handles to each other in the types already.
  const erased = options as unknown as ObjectOptions<object, ResourceFactories>;
  return {
    name,
    state: erased.state ?? (() => ({})),
    durability: options.durability ?? "memory",
    concurrency: options.concurrency ?? "interleaved",
    idleAfterMs,
    placement: { strategy, regions },
    limits,
    topics: new Map(Object.entries(erased.topics ?? {})),
    resources: erased.resources ?? {},
    onStart: erased.onStart?.bind(erased),
    onStop: erased.onStop?.bind(erased),
  };
}

function invalid(className: string, field: string, what: string): StatefulError {
  return new StatefulError("bad_request", `object("${className.slice(0, 80)}"): ${field} ${what}.`);
}
