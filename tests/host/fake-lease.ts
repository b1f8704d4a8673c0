import type { ActivationTableSetup } from "../../infra/host/activation-table.ts";
import type { HeldLease, HostRecord } from "../../infra/lease/directory.ts";
import type { Acquisition, MoveOutcome, Session } from "../../infra/lease/leases.ts";
import { type LoadedObject, nothingStored } from "../../infra/lease/stored-objects.ts";
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
  readonly #load: (object: ObjectRef) => LoadedObject;

  /** The next answers have the epochs of the last ones: nothing has happened in between. */
  answersAgain(): void {
    this.#epoch = 0;
  }

  /** @param load what an object has stored */
  constructor(load: (object: ObjectRef) => LoadedObject = () => nothingStored) {
    this.#load = load;
  }

  async acquire(object: ObjectRef, _when?: "free" | "mine", load = false): Promise<Acquisition> {
    this.acquired.push(object.key);
    await this.held;
    const answer = this.#answer(object);
    return answer.owned && load ? { ...answer, loaded: this.#load(object) } : answer;
  }

  /** What the next moves come to, once they are decided. */
  moveOutcome: MoveOutcome | undefined;
  readonly moves: { readonly lease: HeldLease; readonly toSession: string }[] = [];
  /** What the next moves wait for. */
  moveHeld: Promise<void> | undefined;

  async move(lease: HeldLease, toSession: string): Promise<MoveOutcome> {
    this.moves.push({ lease, toSession });
    await this.moveHeld;
    if (!this.session.isValid()) throw new StatefulError("session_over", "ended meanwhile");
    return this.moveOutcome ?? { outcome: "moved", epoch: ++this.#epoch };
  }

  isTaking(): boolean {
    return false;
  }

  readonly hosts = new Map<string, HostRecord>();
  host(session: string): HostRecord | undefined {
    return this.hosts.get(session);
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

  /** Of the target of moves: what is not its own is this session's. */
  elsewhereUnlessMine: string | undefined;
  readonly mine = new Set<string>();
  /** Who had what is acquired next. */
  former = "";
  /** Hosts that are known, by their session. */
  readonly owners = new Map<string, HostRecord>();

  #answer(object: ObjectRef): Acquisition {
    const winner =
      this.elsewhere.get(object.key) ?? (this.mine.has(object.key) ? undefined : this.elsewhereUnlessMine);
    this.#epoch++;
    const { session, former } = this;
    if (winner === undefined) return { owned: true, session, epoch: this.#epoch, former };
    return { owned: false, session: winner, epoch: this.#epoch, owner: this.owners.get(winner) };
  }
}
