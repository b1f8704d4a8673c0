/** What authors import from "stateful-objects": web standards and Elysia only, so that it loads under Bun and Deno. */

export { type ErrorCode, type ProblemDetails, StatefulError } from "../lib/errors.ts";
export type {
  HostHandle,
  ObjectHandles,
  Objects,
  SocketInfo,
  Sockets,
  StartFacts,
  StartReason,
  StopReason,
  Topics,
} from "./context.ts";
export {
  type AnyObjectClass,
  type ObjectClass,
  type ObjectClient,
  object,
  type TopicsOf,
} from "./object.ts";
export type {
  AlarmEvent,
  AutoResponse,
  Durability,
  ObjectLimits,
  ObjectOptions,
  PlacementOptions,
} from "./options.ts";
export type { AllowedOrigin } from "./origins.ts";
import "./elysia-socket.ts";
export type {
  AlarmInfo,
  Alarms,
  AlarmTime,
  ObjectStorage,
  StorageKeys,
  StorageListOptions,
} from "./storage.ts";
export {
  type HistoryOptions,
  type PresenceOptions,
  type SlowReaders,
  type TopicOptions,
  type TopicRequest,
  topic,
} from "./topic-options.ts";
