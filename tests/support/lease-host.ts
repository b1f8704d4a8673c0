import type { Directory, HeldLease, HostRecord } from "../../infra/lease/directory.ts";
import { type LeaseOptions, type RunningLeases, startLeases } from "../../infra/lease/lease-keeper.ts";
import type { Session } from "../../infra/lease/leases.ts";
import { type Clock, systemClock } from "../../infra/lib/clock.ts";

type Event =
  | { readonly name: "sessionOver"; readonly session: string; readonly reason: string }
  | { readonly name: "sessionOpened"; readonly session: string; readonly previous: string }
  | { readonly name: "outdated"; readonly code: string }
  | { readonly name: "leasesLost"; readonly leases: readonly HeldLease[] }
  | { readonly name: "hostsChanged"; readonly hosts: readonly string[]; readonly gone: readonly string[] };

/** A host as far as leases go: what it was told, and what it says it runs. */
export class LeaseHost {
  readonly events: Event[] = [];
  held: HeldLease[] = [];
  isDraining = false;
  #leases: RunningLeases | undefined;

  static async start(directory: Directory, options: Partial<LeaseOptions> = {}): Promise<LeaseHost> {
    const host = new LeaseHost();
    host.#leases = await startLeases({
      ...host.#options(directory, options.clock ?? systemClock),
      ...options,
    });
    return host;
  }

  get leases(): RunningLeases {
    if (this.#leases === undefined) throw new Error("the host has not started");
    return this.#leases;
  }

  /** Why the session ended; undefined while it has not been told so. */
  overReason(session: Session): string | undefined {
    for (const event of this.events) {
      if (event.name === "sessionOver" && event.session === session.id) return event.reason;
    }
    return undefined;
  }

  #options(directory: Directory, clock: Clock): LeaseOptions {
    const load = { objects: 0, objectsMax: 10, memoryUsedBytes: 0, memoryLimitBytes: 1 };
    return {
      directory,
      clock,
      random: () => 0.5,
      held: () => this.held,
      self: {
        hostId: "host",
        region: "iad",
        privateUrl: "http://private",
        publicUrl: "http://public",
        version: "1",
        classes: () => ["room"],
        load: () => load,
        draining: () => this.isDraining,
      },
      events: {
        sessionOver: ({ id }, reason) => this.#note({ name: "sessionOver", session: id, reason }),
        sessionOpened: ({ id }, previous) =>
          this.#note({ name: "sessionOpened", session: id, previous: previous.id }),
        leasesLost: (leases) => this.#note({ name: "leasesLost", leases }),
        outdated: ({ code }) => this.#note({ name: "outdated", code }),
        hostsChanged: (hosts, gone) =>
          this.#note({ name: "hostsChanged", hosts: hosts.map(sessionOf), gone: gone.map(sessionOf) }),
      },
    };
  }

  #note(event: Event): void {
    this.events.push(event);
  }
}

function sessionOf(host: HostRecord): string {
  return host.session;
}
