import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { ask, leaseTtlMs, recoveryLimitMs, type Stage } from "../stage.ts";
import type { Upheaval } from "./listening.ts";

export const upheavalNames = ["moves", "edge", "owner", "drain", "cut", "freeze"] as const;
export type UpheavalName = (typeof upheavalNames)[number];

export interface UpheavalsSetup {
  readonly stage: Stage;
  /** Keys of the objects that are talked about. */
  readonly objects: readonly string[];
  readonly random: SeededRandom;
  /** Whether what an object's topics have said is lost with an owner that is killed. */
  readonly forgets: (object: string) => boolean;
}

/** How long a host is gone that was killed. */
const goneMs = { min: 200, max: 4_000 } as const;
/** How long two hosts do not reach each other: from less than it takes to notice to more than it takes to find a way around. */
const cutMs = { min: 200, max: 8_000 } as const;
/** How long a host stands still: its lease may end meanwhile, or not. */
const frozenMs = { min: 200, max: 2 * leaseTtlMs } as const;

/** What a run does to hosts and objects, one thing after the other; and what of it listeners may notice. */
export class Upheavals implements Upheaval {
  readonly losses: { readonly object: string; readonly atMs: number }[] = [];
  readonly edgesGone = new Set<string>();
  readonly cutsAtMs: number[] = [];
  /** In words, for whoever looks for the cause of what went wrong. */
  readonly journal: string[] = [];
  readonly counts = {
    moves: 0,
    "moves refused": 0,
    "edges killed": 0,
    "owners killed": 0,
    drains: 0,
    cuts: 0,
    freezes: 0,
    "sessions lost or drained in part": 0,
  };
  readonly #setup: UpheavalsSetup;

  constructor(setup: UpheavalsSetup) {
    this.#setup = setup;
  }

  /**
   * What a busy machine has done by itself, as hosts have logged it: a session that was not renewed in time, a drain that did not
   * have the time to move everything. Objects are lost with it as with a kill.
   */
  noteUnplanned(): void {
    const { stage, objects } = this.#setup;
    const entries = stage.hosts.flatMap(({ entries }) => entries);
    for (const { event, time, ...fields } of entries) {
      const { saved = 0, lostMemory = 0, failed = 0 } = fields;
      const isLeft = event === "host.drained" && Number(saved) + Number(lostMemory) + Number(failed) > 0;
      if (event !== "session.over" && !isLeft) continue;
      const atMs = Date.parse(String(time)) - performance.timeOrigin;
      for (const object of objects) if (this.#setup.forgets(object)) this.losses.push({ object, atMs });
      this.counts["sessions lost or drained in part"] += 1;
      this.journal.push(`${atMs.toFixed(0)} ms: ${event} ${JSON.stringify(fields)}`);
    }
  }

  async play(name: UpheavalName): Promise<void> {
    const { stage, random } = this.#setup;
    switch (name) {
      case "moves":
        return this.#moves();
      case "edge":
        return this.#killEdge(random.pick(stage.hosts));
      case "owner":
        return this.#killOwner();
      case "drain":
        return this.#drain(random.pick(stage.hosts));
      case "cut":
        return this.#cut(random.pick(stage.hosts));
      case "freeze":
        return this.#freeze(random.pick(stage.hosts));
    }
  }

  /** Of several objects at once, one after the other of each. */
  async #moves(): Promise<void> {
    const { objects, random } = this.#setup;
    const moving = objects.map(async (object) => {
      for (let count = random.between(1, 3); count > 0; count -= 1) await this.#moveAnywhere(object);
    });
    await Promise.all(moving);
  }

  async #moveAnywhere(object: string, except?: HostProcess): Promise<void> {
    const { stage, random } = this.#setup;
    const owner = await stage.owner(`/${object}`);
    const targets = stage.hosts.filter((host) => host.isReady && host !== owner && host !== except);
    const { status } = await stage.move(`/${object}`, random.pick(targets), random.pick(stage.hosts));
    this.counts[status === 200 ? "moves" : "moves refused"] += 1;
    this.#note(`move of ${object} from ${owner.id}: ${status}`);
  }

  /** A host that owns nothing any more: its clients have to go elsewhere, and nothing is lost. */
  async #killEdge(host: HostProcess): Promise<void> {
    const { objects, random, stage } = this.#setup;
    for (const object of await this.#ownedBy(host)) await this.#moveAnywhere(object, host);
    if ((await this.#ownedBy(host)).length > 0) return; // A move was refused: another time.
    this.edgesGone.add(host.id);
    this.#note(`kill of edge ${host.id}`);
    await host.kill();
    this.counts["edges killed"] += 1;
    await Bun.sleep(random.between(goneMs.min, goneMs.max)); // how long, by the seed
    await stage.restart(host, random.pick(["same port", "new port"]));
    if (objects.length > 0) await stage.allKnowAll();
  }

  /** Sometimes in the middle of a move. */
  async #killOwner(): Promise<void> {
    const { stage, objects, random } = this.#setup;
    const object = random.pick(objects);
    const host = await stage.owner(`/${object}`);
    const owned = await this.#ownedBy(host);
    const moving = random.isLucky(0.4) ? this.#moveAnywhere(object) : undefined;
    if (moving) await Bun.sleep(random.between(0, 30)); // how far the move comes, by the seed
    this.#lose(owned);
    this.edgesGone.add(host.id);
    this.#note(`kill of ${host.id}, owner of ${owned.join(" ")}`);
    await host.kill();
    this.counts["owners killed"] += 1;
    await moving;
    await Bun.sleep(random.between(goneMs.min, goneMs.max)); // how long, by the seed
    await stage.restart(host, random.pick(["same port", "new port"]));
    await stage.allKnowAll();
  }

  /** A deploy: it hands over what it owns. */
  async #drain(host: HostProcess): Promise<void> {
    this.edgesGone.add(host.id);
    this.#note(`drain of ${host.id}`);
    await this.#setup.stage.drain(host);
    this.counts.drains += 1;
    await this.#setup.stage.restart(host, this.#setup.random.pick(["same port", "new port"]));
    await this.#setup.stage.allKnowAll();
  }

  /** Two hosts live, and the third can carry what one has for the other: nothing is lost. */
  async #cut(host: HostProcess): Promise<void> {
    const { stage, random } = this.#setup;
    const other = stage.other(host);
    const direction = random.pick(["both", "a to b"] as const);
    this.cutsAtMs.push(performance.now());
    this.#note(`cut between ${host.id} and ${other.id}, ${direction}`);
    await stage.cut(host, other, direction);
    this.counts.cuts += 1;
    await Bun.sleep(random.between(cutMs.min, cutMs.max)); // how long, by the seed
    await stage.heal(host, other, direction);
    this.#note(`way between ${host.id} and ${other.id} healed`);
    await stage.allKnowAll();
  }

  /** It may have lost everything by the time that it goes on, and its clients with it. */
  async #freeze(host: HostProcess): Promise<void> {
    const { stage, random } = this.#setup;
    const owned = await this.#ownedBy(host);
    this.#lose(owned);
    this.edgesGone.add(host.id);
    this.#note(`freeze of ${host.id}, owner of ${owned.join(" ")}`);
    host.freeze();
    this.counts.freezes += 1;
    await Bun.sleep(random.between(frozenMs.min, frozenMs.max)); // how long, by the seed
    host.thaw();
    this.#note(`thaw of ${host.id}`);
    this.#lose(owned);
    await stage.allKnowAll();
  }

  #note(what: string): void {
    this.journal.push(`${performance.now().toFixed(0)} ms: ${what}`);
  }

  #lose(objects: readonly string[]): void {
    const atMs = performance.now();
    for (const object of objects) if (this.#setup.forgets(object)) this.losses.push({ object, atMs });
  }

  async #ownedBy(host: HostProcess): Promise<string[]> {
    const { stage, objects } = this.#setup;
    const owners = await Promise.all(objects.map((object) => stage.owner(`/${object}`)));
    return objects.filter((_, index) => owners[index] === host);
  }
}

/** Has every object be somewhere, each at another host. */
export async function spread(stage: Stage, objects: readonly string[]): Promise<void> {
  for (const [index, object] of objects.entries()) {
    const host = stage.host(index % stage.hosts.length);
    const { status } = await ask(host, `/${object}`, { signal: AbortSignal.timeout(recoveryLimitMs) });
    if (status !== 200) throw new Error(`${object} did not start: ${status}.`);
  }
}
