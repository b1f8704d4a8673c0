import type { AddressLimits } from "../../infra/edge/address-limits.ts";
import type { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import type { Metric } from "../../infra/edge/metrics.ts";
import type { ActivationTable } from "../../infra/host/activation-table.ts";
import type { HostLinks } from "./host-links.ts";

export interface MeteredHost {
  readonly table: ActivationTable;
  readonly sockets: EdgeSockets;
  readonly links: HostLinks;
  readonly addresses: Pick<AddressLimits, "size" | "refused">;
}

/** What an operator watches of one host. */
export function hostMetrics({ table, sockets, links, addresses }: MeteredHost): readonly Metric[] {
  const { behind, skipped } = sockets.lenient.figures;
  return [
    { name: "stateful_objects_awake", help: "Objects that run here.", value: table.size },
    { name: "stateful_objects_asleep", help: "Objects that sleep here.", value: table.asleep },
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
