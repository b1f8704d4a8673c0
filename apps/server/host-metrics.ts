import type { AddressLimits } from "../../infra/edge/address-limits.ts";
import type { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import type { Metric } from "../../infra/edge/metrics.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import type { RouteCache } from "../../infra/edge/route-cache.ts";
import type { HostLinks } from "./host-links.ts";
import type { MemoryGauge } from "./memory-gauge.ts";

export interface MeteredHost {
  readonly table: ActivationTable;
  readonly sockets: EdgeSockets;
  readonly links: HostLinks;
  readonly addresses: Pick<AddressLimits, "size" | "refused">;
  readonly routes: RouteCache;
  readonly gauge: MemoryGauge;
  readonly openRequests: () => number;
}

/** What an operator watches of one host. */
export function hostMetrics(host: MeteredHost): readonly Metric[] {
  const { table, sockets, links, addresses } = host;
  const { behind, skipped } = sockets.lenient.figures;
  return [
    { name: "stateful_objects_awake", help: "Objects that run here.", value: table.size },
    { name: "stateful_objects_asleep", help: "Objects that sleep here.", value: table.asleep },
    {
      name: "stateful_requests_open",
      help: "Requests of clients that are not answered yet, or not to their ends: the one that asks is among them.",
      value: host.openRequests(),
    },
    {
      name: "stateful_events_open",
      help: "Events that objects here are at, or that wait for them.",
      value: openEvents(table),
    },
    {
      name: "stateful_memory_resident_bytes",
      help: "Resident memory of the process, as its guard sees it.",
      value: host.gauge.usedBytes,
    },
    {
      name: "stateful_routes_cached",
      help: "Owners that are remembered.",
      value: host.routes.size,
    },
    { name: "stateful_sockets", help: "Sockets, streams and subscriptions held here.", value: sockets.size },
    {
      name: "stateful_sockets_buffered_bytes",
      help: "Bytes that wait here for clients to read them.",
      value: sockets.bufferedBytes,
    },
    {
      name: "stateful_slow_readers_closed_total",
      help: "Clients that were closed (4408) because they read too slowly.",
      value: sockets.slowReadersClosed,
    },
    {
      name: "stateful_slow_readers_behind",
      help: "Subscribers of topics with drop-oldest or conflate that are behind now.",
      value: behind,
    },
    {
      name: "stateful_topic_messages_skipped_total",
      help: "Messages that were left out for such subscribers.",
      value: skipped,
    },
    {
      name: "stateful_client_addresses",
      help: "Addresses of clients that are counted here, because they have sockets or many requests open.",
      value: addresses.size,
    },
    {
      name: "stateful_address_refusals_total",
      help: "Sockets and requests refused (429) because their address had all that it may have.",
      value: addresses.refused,
    },
    {
      name: "stateful_publish_frames_total",
      help: "Publishes sent to edges at other hosts: one for each edge with subscribers.",
      value: links.publishFramesSent,
    },
  ];
}

function openEvents(table: ActivationTable): number {
  let open = 0;
  for (const activation of table.all()) open += activation.openEvents;
  return open;
}
