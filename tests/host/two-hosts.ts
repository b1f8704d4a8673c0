import type { HostRecord } from "../../infra/lease/directory.ts";
import type { MoveConversation, MoveOffer, Arrival } from "../../infra/host/move-ports.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { FakeSession } from "./fake-lease.ts";
import { ObjectHost } from "./object-host.ts";

/** The steps at which a test may cut the way between the two hosts, before the step is taken. */
export type MoveStep = "begin" | "deliver" | "go";

/** A host that moves objects, and the one that they move to, with a way between them that a test cuts. */
export class TwoHosts {
  readonly source: ObjectHost;
  readonly target: ObjectHost;
  readonly targetRecord: HostRecord;
  readonly steps: string[] = [];
  /** Runs before each step; what it throws is what the source hears. */
  before: (step: MoveStep) => void | Promise<void> = () => undefined;
  arrival: Arrival | undefined;

  constructor(makeClasses: () => readonly AnyObjectClass[]) {
    this.source = new ObjectHost(...makeClasses());
    this.target = new ObjectHost(...makeClasses());
    this.target.leases.session = new FakeSession("session-target");
    this.target.stores.session = "session-target";
    this.target.leases.elsewhereUnlessMine = this.source.leases.session.id;
    this.targetRecord = {
      ...{ session: "session-target", hostId: "host-2", region: "nrt", privateUrl: "", publicUrl: "" },
      ...{ classes: [], version: "test", draining: false, load: this.target.load },
    };
    this.source.beginMove = (_, offer) => this.#begin(offer);
    this.source.leases.hosts.set("session-target", this.targetRecord);
  }

  move(className: string, isForced = false, id = "a") {
    const options = { reason: "operator", isForced } as const;
    return this.source.table.move(objectRef(className, id), this.targetRecord, options);
  }

  /** From the target to the source, over the same way. */
  moveBack(className: string, id = "a") {
    const record = { ...this.targetRecord, session: this.source.leases.session.id, hostId: "host-1" };
    this.target.leases.hosts.set(record.session, record);
    this.target.beginMove = (_, offer) => this.#begin(offer, this.source);
    const options = { reason: "operator", isForced: false } as const;
    return this.target.table.move(objectRef(className, id), record, options);
  }

  async #begin(offer: MoveOffer, to = this.target): Promise<MoveConversation> {
    await this.#step("begin");
    const arrival = to.table.arrivals.offered(offer);
    this.arrival = arrival;
    return {
      deliver: async (bytes) => {
        await this.#step("deliver");
        arrival.deliver(bytes);
      },
      go: (epoch) => {
        to.leases.mine.add(offer.ref.key);
        void this.#step("go").then(
          () => arrival.go(epoch),
          () => arrival.undecided(),
        );
      },
      cancel: (_, isUndecided) => {
        this.steps.push(isUndecided ? "undecided" : "cancelled");
        if (isUndecided) arrival.undecided();
        else arrival.cancelled();
      },
    };
  }

  async #step(step: MoveStep): Promise<void> {
    this.steps.push(step);
    await this.before(step);
  }
}

export function cut(): never {
  throw new StatefulError("outcome_unknown", "the link is lost");
}
