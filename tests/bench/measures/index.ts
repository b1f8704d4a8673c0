import type { Measure } from "../figure.ts";
import { activations } from "./activations.ts";
import { drainRate } from "./drain-rate.ts";
import { durableWrites } from "./durable-writes.ts";
import { localHttp } from "./local-http.ts";
import { movePause } from "./move-pause.ts";
import { objectMemory } from "./object-memory.ts";
import { ownerLost } from "./owner-lost.ts";
import { presenceJoin } from "./presence-join.ts";
import { remoteHttp } from "./remote-http.ts";
import { sleepingSockets } from "./sleeping-sockets.ts";
import { socketEcho } from "./socket-echo.ts";
import { socketMemory } from "./socket-memory.ts";
import { startTime } from "./start-time.ts";
import { topicAudience } from "./topic-audience.ts";
import { topicConflation } from "./topic-conflation.ts";
import { topicFanOut } from "./topic-fan-out.ts";
import { topicResume } from "./topic-resume.ts";

/** In the order of the table. */
export const measures: readonly Measure[] = [
  localHttp,
  remoteHttp,
  socketEcho,
  topicFanOut(1000),
  topicFanOut(5000),
  topicAudience,
  topicResume,
  presenceJoin,
  topicConflation,
  activations,
  durableWrites,
  movePause,
  ownerLost,
  drainRate,
  objectMemory,
  socketMemory,
  sleepingSockets,
  startTime,
];
