import { ObjectMoves } from "../../apps/server/object-moves.ts";
import { ObjectTraffic } from "../../apps/server/object-traffic.ts";
import { RouteCache } from "../../infra/edge/route-cache.ts";
import type { MoveOffer } from "../../infra/host/move-ports.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import type { StatefulError } from "../../infra/lib/errors.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import { ObjectHost } from "../host/object-host.ts";

export function hostRecord(hostId: string, region = "ams", changes: Partial<HostRecord> = {}): HostRecord {
  return {
    ...{ session: `${hostId}.1`, hostId, region, privateUrl: "", publicUrl: "", version: "test" },
    ...{ classes: ["counter", "saved", "other"], draining: false },
    load: { objects: 0, objectsMax: 1000, memoryUsedBytes: 0, memoryLimitBytes: 1000 },
    ...changes,
  };
}

/** The objects of one host in `ams`, and other hosts that take them or say why not. */
export class MovingHost {
  readonly host: ObjectHost;
  readonly routes = new RouteCache(1000);
  readonly traffic: ObjectTraffic;
  readonly moves: ObjectMoves;
  /** The others, as the directory shows them. */
  others: HostRecord[] = [];
  readonly roundTripsMs = new Map<string, number>();
  /** Objects that each took, in order. */
  readonly taken: { readonly hostId: string; readonly offer: MoveOffer; readonly bytes: Uint8Array }[] = [];
  readonly asked: string[] = [];
  /** Why a host does not take an object; undefined where it does. */
  refuses: (hostId: string, offer: MoveOffer) => StatefulError | undefined = () => undefined;

  /** Why a host that takes an object has no room for its package. */
  refusesPackage: (hostId: string) => StatefulError | undefined = () => undefined;

  constructor(...classes: AnyObjectClass[]) {
    this.host = new ObjectHost(...classes);
    this.host.load.objectsMax = 1000;
    const { clock, table, leases } = this.host;
    this.traffic = new ObjectTraffic("ams", clock);
    const self = hostRecord("self");
    this.moves = new ObjectMoves({
      ...{ self, table, routes: this.routes, traffic: this.traffic },
      leases: Object.defineProperties(
        { session: leases.session, hosts: this.others },
        {
          hosts: { get: () => [{ ...self, session: leases.session.id }, ...this.others] },
        },
      ),
      policyOf: () => ({ strategy: "nearest", regions: [] }),
      clock,
      roundTripMs: ({ hostId }) => this.roundTripsMs.get(hostId),
    });
    this.host.beginMove = async ({ hostId }, offer) => {
      this.asked.push(`${offer.ref.key} → ${hostId}`);
      const refusal = this.refuses(hostId, offer);
      if (refusal) throw refusal;
      return {
        deliver: async (bytes) => {
          const refusal = this.refusesPackage(hostId);
          if (refusal) throw refusal;
          this.taken.push({ hostId, offer, bytes });
        },
        go: () => undefined,
        cancel: () => undefined,
      };
    };
  }

  get takers(): readonly string[] {
    return this.taken.map(({ hostId }) => hostId);
  }
}
