import type { Activation } from "../../../infra/host/activation.ts";
import type { LogFields } from "../../../infra/lib/log.ts";
import type { LeaseRow } from "../world/primary.ts";
import type { World } from "../world/world.ts";

interface Accepted {
  readonly epoch: number;
  readonly host: string;
}

/**
 * At most one live copy (L1 to L4, L7), seen from outside: at every event that a handler takes, the directory must name its host's
 * session and its activation's epoch *at that instant*, and that session must live by the primary's own clock, whatever any host
 * has heard of it: whether another has taken the object by then is a matter of luck. Epochs only rise, in the directory and
 * among those under which events are taken.
 */
export class OneCopyCheck {
  readonly #world: World;
  readonly #rows = new Map<string, LeaseRow>();
  /** The epoch of what runs, by host and object. */
  readonly #running = new Map<string, unknown>();
  readonly #last = new Map<string, Accepted>();
  accepts = 0;
  activations = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** After a transaction of the primary. */
  leasesChanged(rows: readonly LeaseRow[]): void {
    for (const row of rows) {
      const before = this.#rows.get(row.key);
      this.#rows.set(row.key, row);
      if (before === undefined) this.activations += 1;
      if (before === undefined || before === row) continue;
      const isTaken = row.session !== before.session && row.session !== "";
      if (isTaken) this.activations += 1;
      if (row.epoch < before.epoch)
        this.#wrong(`the epoch of ${row.key} fell from ${before.epoch} to ${row.epoch}`);
      else if (isTaken && row.epoch === before.epoch)
        this.#wrong(
          `${row.key} went from "${before.session}" to "${row.session}" under one epoch, ${row.epoch}`,
        );
    }
  }

  /** A host has logged something. No object starts under an epoch under which it runs there. */
  logged(host: string, event: string, fields: LogFields | undefined): void {
    const place = `${host} ${String(fields?.object)}`;
    if (event === "object.started") {
      if (this.#running.get(place) === fields?.epoch)
        this.#wrong(`${place} started twice under ${String(fields?.epoch)}`);
      this.#running.set(place, fields?.epoch);
    } else if (event === "object.stopped" || event === "object.ended" || event === "object.moved")
      this.#running.delete(place);
  }

  /** A handler begins. */
  accepted(key: string, hostName: string): void {
    this.accepts += 1;
    const parts = this.#world.hosts.get(hostName)?.running?.parts;
    // Also one that is about to move, and waits for what it has begun.
    const activation = parts === undefined ? undefined : activationOf(parts.table.all(), key);
    if (parts === undefined || activation === undefined)
      return this.#wrongOfCopies(`${hostName} takes an event of ${key}, which does not run there`);
    const { epoch } = activation;
    const { session } = parts.leases;
    const row = this.#rows.get(key);
    if (row?.session !== session.id || row.epoch !== epoch) {
      const rows = `the directory says ${row?.session} under ${row?.epoch}`;
      this.#wrongOfCopies(`${hostName} takes an event of ${key} as ${session.id} under ${epoch}; ${rows}`);
    }
    if (!this.#world.primary.isAlive(session.id))
      this.#wrongOfCopies(`${hostName} takes an event of ${key} as ${session.id}, whose time is over`);
    const last = this.#last.get(key);
    if (last !== undefined && epoch < last.epoch)
      this.#wrongOfCopies(
        `${hostName} takes an event of ${key} under ${epoch}, after ${last.host} took one under ${last.epoch}`,
      );
    if (last === undefined || epoch >= last.epoch) this.#last.set(key, { epoch, host: hostName });
  }

  #wrong(what: string): void {
    this.#world.violation("epochs", what);
  }

  /** Two copies may live where clocks are worse than is assumed. */
  #wrongOfCopies(what: string): void {
    if (!this.#world.settings.beyondBounds) this.#world.violation("one copy", what);
  }
}

function activationOf(all: Iterable<Activation>, key: string): Activation | undefined {
  for (const activation of all) if (activation.ref.key === key) return activation;
  return undefined;
}
