import type { HostProcess } from "../../support/host-process.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { ask, recoveryLimitMs, type Stage } from "../stage.ts";
import type { Upheaval } from "./listening.ts";

export const upheavalNames = ["moves", "edge", "owner", "drain"] as const;
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

/** What a run does to hosts and objects, one thing after the other; and what of it listeners may notice. */
export class Upheavals implements Upheaval {
  readonly losses: { readonly object: string; readonly atMs: number }[] = [];
  readonly edgesGone = new Set<string>();
  readonly counts = { moves: 0, "moves refused": 0, "edges killed": 0, "owners killed": 0, drains: 0 };
  readonly #setup: UpheavalsSetup;

  constructor(setup: UpheavalsSetup) {
    this.#setup = setup;
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
  }

  /** A host that owns nothing any more: its clients have to go elsewhere, and nothing is lost. */
  async #killEdge(host: HostProcess): Promise<void> {
    const { objects, random, stage } = this.#setup;
    for (const object of await this.#ownedBy(host)) await this.#moveAnywhere(object, host);
    if ((await this.#ownedBy(host)).length > 0) return; // A move was refused: another time.
    this.edgesGone.add(host.id);
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
    const atMs = performance.now();
    for (const one of owned) if (this.#setup.forgets(one)) this.losses.push({ object: one, atMs });
    this.edgesGone.add(host.id);
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
    await this.#setup.stage.drain(host);
    this.counts.drains += 1;
    await this.#setup.stage.restart(host, this.#setup.random.pick(["same port", "new port"]));
    await this.#setup.stage.allKnowAll();
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
