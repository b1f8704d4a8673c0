import type { Scenario } from "../scenario.ts";
import { alarmsDue } from "./alarms-due.ts";
import { callCycle, callStorm } from "./calls.ts";
import { descriptors } from "./descriptors.ts";
import { fastPublisher } from "./fast-publisher.ts";
import { messageFlood } from "./floods.ts";
import { hoarders } from "./hoarders.ts";
import { hugeBodies } from "./huge-bodies.ts";
import { idsInMemory, idsOfNobody, idsStored, keptAsleep } from "./many-ids.ts";
import { socketsAsleep, socketsAwake } from "./many-sockets.ts";
import { manySubscriptions, manyTopics } from "./many-topics.ts";
import { newConnections, openRequests, openSerial, slowLoris } from "./open-requests.ts";
import { fastStreams, slowBodies, slowSockets, slowStreams } from "./slow-readers.ts";

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [
  ...[hugeBodies, slowLoris, newConnections, openRequests, openSerial],
  ...[socketsAwake, socketsAsleep, slowSockets, slowStreams, slowBodies, fastStreams],
  ...[fastPublisher, manyTopics, manySubscriptions, messageFlood],
  ...[callStorm, callCycle, alarmsDue],
  ...[hoarders, descriptors, idsOfNobody, idsInMemory, idsStored, keptAsleep],
];
