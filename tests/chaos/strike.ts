import type { Offence } from "../continuity/offence.ts";
import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { ChaosStage } from "./chaos-stage.ts";
import type { Journal } from "./journal.ts";

export interface StrikeSetup {
  readonly stage: ChaosStage;
  readonly random: SeededRandom;
  readonly journal: Journal;
  /** Keys of the objects that are at work. */
  readonly objects: readonly string[];
}

/** One fault, or two at once, while they last: what they may do, and to whom. */
export class Strike {
  readonly stage: ChaosStage;
  readonly random: SeededRandom;
  /** Whether another fault goes on meanwhile. */
  isWithAnother = false;
  readonly offences: Offence[] = [];
  readonly #setup: StrikeSetup;
  readonly #claimed = new Set<HostProcess>();

  constructor(setup: StrikeSetup) {
    this.stage = setup.stage;
    this.random = setup.random;
    this.#setup = setup;
  }

  /** Hosts to which something is done: their edges are out of reach for a reason. */
  get struck(): ReadonlySet<HostProcess> {
    return this.#claimed;
  }

  note(what: string): void {
    this.#setup.journal.note(what);
  }

  offend(kind: Offence["kind"], text: string): void {
    this.offences.push({ kind, client: "the run", text });
  }

  /** How long a thing lasts, as the seed has it. */
  async wait({ min, max }: { readonly min: number; readonly max: number }): Promise<void> {
    await Bun.sleep(this.random.between(min, max));
  }

  /** One that nobody has done anything to yet. */
  claimHost(): HostProcess {
    const free = this.stage.hosts.filter((host) => !this.#claimed.has(host));
    const host = this.random.pick(free);
    this.#claimed.add(host);
    return host;
  }

  /** A host that owns an object; another one where none says so. */
  async claimOwner(): Promise<HostProcess> {
    const owner = await this.stage.owner(this.random.pick(this.#setup.objects));
    if (owner === undefined || this.#claimed.has(owner)) return this.claimHost();
    this.#claimed.add(owner);
    return owner;
  }

  /** Asks for a move of every object to any host; resolves when all have been answered. */
  async moveAll(): Promise<void> {
    const moved = await Promise.all(
      this.#setup.objects.map((object) => {
        const [to, via] = [this.random.pick(this.stage.hosts), this.random.pick(this.stage.hosts)];
        return this.stage.move(object, to, via);
      }),
    );
    this.note(`${moved.filter(Boolean).length} of ${moved.length} moves came about`);
  }
}
