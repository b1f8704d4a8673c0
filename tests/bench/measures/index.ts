import type { Measure } from "../figure.ts";
import { activations } from "./activations.ts";
import { localHttp } from "./local-http.ts";
import { objectMemory } from "./object-memory.ts";
import { remoteHttp } from "./remote-http.ts";
import { socketEcho } from "./socket-echo.ts";
import { socketMemory } from "./socket-memory.ts";
import { startTime } from "./start-time.ts";
import { topicFanOut } from "./topic-fan-out.ts";

/** In the order of the table. */
export const measures: readonly Measure[] = [
  localHttp,
  remoteHttp,
  socketEcho,
  topicFanOut(1000),
  topicFanOut(5000),
  activations,
  objectMemory,
  socketMemory,
  startTime,
];
