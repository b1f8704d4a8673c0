import type { ActivationTableSetup } from "../../infra/host/activation-table.ts";
import type { HeldLease } from "../../infra/lease/directory.ts";
import type { Acquisition, Session } from "../../infra/lease/leases.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";

/** A session that a test ends. */
export class FakeSession implements Session {
  readonly id: string;
  #isOver = false;

  constructor(id = "session-1") {
    this.id = id;
  }
  isValid(): boolean {
    return !this.#isOver;
  }
  end(): void {
    this.#isOver = true;
  }
}

/** The leases of one host, in memory: everything is free unless a test says otherwise. */
export class FakeLeases
  implements Pick<ActivationTableSetup["leases"], keyof ActivationTableSetup["leases"]>
{
  session = new FakeSession();
  readonly acquired: string[] = [];
  readonly released: HeldLease[] = [];
  readonly disowned: string[] = [];
  readonly adoptions: { readonly fromSession: string; readonly leases: readonly HeldLease[] }[] = [];
  /** Objects that live elsewhere, with the session that has them. */
  readonly elsewhere = new Map<string, string>();
  /** Objects whose adoption the directory does not settle. */
  readonly unsettled = new Set<string>();
  /** What the next adoptions wait for, once they are decided. */
  adoptionHeld: Promise<void> | undefined;
  /** What the next acquisitions wait for. */
  held: Promise<void> | undefined;
  #epoch = 0;

  async acquire(object: ObjectRef): Promise<Acquisition> {
    this.acquired.push(object.key);
    await this.held;
    return this.#answer(object);
  }

  release(lease: HeldLease): void {
    this.released.push(lease);
  }

  disown(object: ObjectRef): void {
    this.disowned.push(object.key);
  }

  async adopt(fromSession: string, leases: readonly HeldLease[]): Promise<ReadonlyMap<string, Acquisition>> {
    this.adoptions.push({ fromSession, leases });
    if (!this.session.isValid()) throw new StatefulError("session_over", "ended again");
    const settled = leases.filter(({ object }) => !this.unsettled.has(object.key));
    const answers = settled.map(({ object }) => [object.key, this.#answer(object)] as const);
    await this.adoptionHeld;
    return new Map(answers);
  }

  #answer(object: ObjectRef): Acquisition {
    const winner = this.elsewhere.get(object.key);
    this.#epoch++;
    if (winner === undefined) return { owned: true, session: this.session, epoch: this.#epoch };
    return { owned: false, session: winner, epoch: this.#epoch, owner: undefined };
  }
}
