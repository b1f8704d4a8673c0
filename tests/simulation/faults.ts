import type { SeededRandom } from "../support/seeded-random.ts";
import type { World, WorldSettings } from "./world/world.ts";
import { directoryPlace, noStorm } from "./world/directory-connection.ts";
import { adminToken } from "../support/admin-token.ts";

/** One thing that goes wrong, or that an operator does, at a time in ms after the beginning. Plain data, so that a run can be told again. */
export type Fault = { readonly atMs: number } & (
  | { readonly kind: "crash"; readonly host: string; readonly downMs: number; readonly isSilent: boolean }
  | { readonly kind: "freeze"; readonly host: string; readonly forMs: number }
  | { readonly kind: "drain"; readonly host: string; readonly downMs: number }
  | { readonly kind: "move"; readonly object: string; readonly to: string; readonly by: string }
  | {
      readonly kind: "cut";
      readonly from: string;
      readonly to: string;
      readonly forMs: number;
      readonly bothWays: boolean;
    }
  | { readonly kind: "break"; readonly host: string }
  /** Its answers from the directory come later, and then it hears of nobody but its clients. */
  | {
      readonly kind: "isolation";
      readonly host: string;
      readonly slowMs: number;
      readonly delayMs: number;
      readonly forMs: number;
    }
  | { readonly kind: "storm"; readonly forMs: number; readonly share: number; readonly lateMs: number }
  | { readonly kind: "outage"; readonly forMs: number }
  | { readonly kind: "turbulence"; readonly forMs: number; readonly share: number; readonly delayMs: number }
  | { readonly kind: "primary clock"; readonly byMs: number }
  | { readonly kind: "host clock"; readonly host: string; readonly byMs: number }
  | { readonly kind: "stale replica"; readonly forMs: number }
);

export type FaultKind = Fault["kind"];

/** How often each kind comes, against the others. */
const weights: Readonly<Record<FaultKind, number>> = {
  crash: 4,
  freeze: 5,
  drain: 2,
  move: 8,
  cut: 5,
  break: 3,
  isolation: 3,
  storm: 4,
  outage: 1.5,
  turbulence: 2,
  "primary clock": 1,
  "host clock": 1.5,
  "stale replica": 1,
};

const gentleKinds: readonly FaultKind[] = ["move", "drain", "break", "turbulence", "stale replica"];

/** After some faults another follows at once, where it hurts most: within this time. */
const heelsMs = 300;
const heelsChance = 0.45;

export interface Stage {
  readonly hosts: readonly string[];
  readonly objects: readonly string[];
  /** Faults begin after this, and none lasts beyond its end. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** What goes wrong in a run: decided before it begins, so that parts of it can be left out. */
export function drawFaults(random: SeededRandom, settings: WorldSettings, stage: Stage): Fault[] {
  const faults: Fault[] = [];
  const everyMs = random.between(900, 4_000);
  // Each run has its own weather: some kinds only, so that each meets all others, and sometimes nothing but itself.
  const possible = settings.isGentle ? gentleKinds : (Object.keys(weights) as FaultKind[]); // as they are written above
  const kinds = possible.filter(() => random.isLucky(0.6));
  if (kinds.length === 0) kinds.push("move", "drain");
  for (let atMs = stage.fromMs; atMs < stage.toMs; atMs += 2 * everyMs * random.next()) {
    faults.push(draw(random, settings, stage, atMs, kinds));
    if (random.isLucky(heelsChance))
      faults.push(draw(random, settings, stage, atMs + heelsMs * random.next(), kinds));
  }
  return faults.map((fault) => ({ ...fault, atMs: Math.round(fault.atMs * 10) / 10 }));
}

function draw(
  random: SeededRandom,
  settings: WorldSettings,
  { hosts, objects }: Stage,
  atMs: number,
  kinds: readonly FaultKind[],
): Fault {
  const { leaseTtlMs: ttlMs, beyondBounds } = settings;
  const host = random.pick(hosts);
  const kind = pickWeighted(random, kinds);
  switch (kind) {
    case "crash":
      return { atMs, kind, host, downMs: random.between(200, 2 * ttlMs), isSilent: random.isLucky(0.5) };
    case "freeze":
      return { atMs, kind, host, forMs: random.between(50, random.isLucky(0.5) ? ttlMs / 2 : 2 * ttlMs) };
    case "drain":
      return { atMs, kind, host, downMs: random.between(200, 3_000) };
    case "move":
      return { atMs, kind, object: random.pick(objects), to: random.pick(hosts), by: host };
    case "cut": {
      const places = [...hosts, "directory", "replica"].filter((name) => name !== host);
      const [from, to] = random.isLucky(0.5) ? [host, random.pick(places)] : [random.pick(places), host];
      return { atMs, kind, from, to, forMs: random.between(100, 2 * ttlMs), bothWays: random.isLucky(0.5) };
    }
    case "break":
      return { atMs, kind, host };
    case "isolation": {
      // Late, but not so late that the host gives an answer up.
      const delayMs = random.between(ttlMs / 9, ttlMs / 5.8);
      const [slowMs, forMs] = [random.between(ttlMs / 3, ttlMs), random.between(ttlMs, 2 * ttlMs)];
      return { atMs, kind, host, slowMs, delayMs, forMs };
    }
    case "storm":
      return {
        atMs,
        kind,
        forMs: random.between(500, ttlMs),
        share: random.next() * 0.5,
        lateMs: random.between(100, 2 * ttlMs),
      };
    case "outage":
      return { atMs, kind, forMs: random.between(200, 1.5 * ttlMs) };
    case "turbulence":
      return {
        atMs,
        kind,
        forMs: random.between(500, 6_000),
        share: random.next() * 0.3,
        delayMs: random.between(100, 3_000),
      };
    case "primary clock": {
      // Ahead by less than the margin of a lease, or back by as much as it likes; beyond the bounds by more.
      const aheadMs = (ttlMs / 9) * (beyondBounds ? 15 : 0.25) * random.next();
      return { atMs, kind, byMs: Math.round(random.isLucky(0.5) ? aheadMs : -5_000 * random.next()) };
    }
    case "host clock":
      return { atMs, kind, host, byMs: Math.round(20_000 * (random.next() - 0.5)) };
    case "stale replica":
      return { atMs, kind, forMs: random.between(1_000, 15_000) };
  }
}

function pickWeighted(random: SeededRandom, kinds: readonly FaultKind[]): FaultKind {
  let left = random.next() * kinds.reduce((sum, kind) => sum + weights[kind], 0);
  for (const kind of kinds) {
    left -= weights[kind];
    if (left < 0) return kind;
  }
  return kinds[0] ?? "crash";
}

/** Has them happen. Those that last end by themselves. */
export class FaultPlayer {
  readonly #world: World;
  /** How many of each kind did something. */
  readonly counts = new Map<FaultKind, number>();
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** @param nowMs what time it is by theirs */
  schedule(faults: readonly Fault[], nowMs: number): void {
    const { scheduler } = this.#world;
    for (const fault of faults) scheduler.after(fault.atMs - nowMs, undefined, () => this.#begin(fault));
  }

  /** Everything is mended, and nothing happens from here on. */
  end(): void {
    this.#isOver = true;
    const world = this.#world;
    world.network.mendAll();
    world.slowAnswers.clear();
    world.storm = noStorm;
    world.primary.isDown = false;
    world.primary.replicaLagMs = 30;
    for (const host of world.hosts.values()) {
      host.thaw();
      // Hosts whose clocks are half a minute apart do not link, and say so.
      host.setClockRight();
      host.isSupervised = true; // one that drains by now comes back
      host.start();
    }
  }

  #begin(fault: Fault): void {
    if (this.#isOver) return;
    this.counts.set(fault.kind, (this.counts.get(fault.kind) ?? 0) + 1);
    this.#world.journal(`— ${describe(fault)}`);
    this.#perform(fault);
  }

  #afterwards(delayMs: number, run: () => void): void {
    this.#world.scheduler.after(delayMs, undefined, () => {
      if (!this.#isOver) run();
    });
  }

  #perform(fault: Fault): void {
    const world = this.#world;
    switch (fault.kind) {
      case "crash":
        world.hosts.get(fault.host)?.crash(fault.isSilent);
        return this.#afterwards(fault.downMs, () => world.hosts.get(fault.host)?.start());
      case "freeze":
        return world.hosts.get(fault.host)?.freeze(fault.forMs);
      case "drain":
        return this.#drain(fault.host, fault.downMs);
      case "move":
        return this.#move(fault.object, fault.to, fault.by);
      case "cut":
        return this.#cut(fault.from, fault.to, fault.forMs, fault.bothWays);
      case "break":
        return this.#break(fault.host);
      case "isolation":
        return this.#isolate(fault.host, fault.slowMs, fault.delayMs, fault.forMs);
      case "storm": {
        const { share, lateMs } = fault;
        world.storm = { lost: share / 2, unanswered: share / 2, late: share, repeated: share, lateMs };
        return this.#afterwards(fault.forMs, () => {
          world.storm = noStorm;
        });
      }
      case "outage":
        world.primary.isDown = true;
        return this.#afterwards(fault.forMs, () => {
          world.primary.isDown = false;
        });
      case "turbulence":
        world.network.turbulence = { chance: fault.share, delayMs: fault.delayMs };
        return this.#afterwards(fault.forMs, () => {
          world.network.turbulence = { chance: 0, delayMs: 0 };
        });
      case "primary clock":
        return world.primary.step(fault.byMs);
      case "host clock":
        return world.hosts.get(fault.host)?.stepWall(fault.byMs);
      case "stale replica":
        world.primary.replicaLagMs = 20_000;
        return this.#afterwards(fault.forMs, () => {
          world.primary.replicaLagMs = 30;
        });
    }
  }

  #drain(name: string, downMs: number): void {
    const host = this.#world.hosts.get(name);
    if (host?.isServing !== true) return;
    host.drain();
    const look = () => {
      if (host.isAlive) this.#afterwards(200, look);
      else this.#afterwards(downMs, () => host.start());
    };
    look();
  }

  #move(object: string, to: string, by: string): void {
    const world = this.#world;
    const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
    const url = `http://${by}/-/objects/${object}/move`;
    const request = new Request(url, { method: "POST", headers, body: JSON.stringify({ host: to }) });
    world.connect(world.clientPlace("operator", "iad"), by, request, {
      opened: (end) => end.close(1002, ""),
      answered: (status, body) =>
        world.journal(`move of ${object} to ${to}: ${status} ${body.slice(0, 160)}`),
      failed: () => world.journal(`move of ${object} to ${to}: no answer`),
    });
  }

  #cut(from: string, to: string, forMs: number, bothWays: boolean): void {
    const { network } = this.#world;
    const ways: readonly (readonly [string, string])[] = bothWays
      ? [
          [from, to],
          [to, from],
        ]
      : [[from, to]];
    for (const [start, end] of ways) network.cut(start, end);
    this.#afterwards(forMs, () => {
      for (const [start, end] of ways) network.mend(start, end);
    });
  }

  #isolate(host: string, slowMs: number, delayMs: number, forMs: number): void {
    const { slowAnswers, hosts } = this.#world;
    slowAnswers.set(host, delayMs);
    this.#afterwards(slowMs, () => {
      slowAnswers.delete(host);
      for (const place of [directoryPlace, ...hosts.keys()])
        if (place !== host) this.#cut(host, place, forMs, true);
    });
  }

  /** Something in between drops the connections of a host. */
  #break(name: string): void {
    const { connections, random } = this.#world;
    for (const connection of [...connections]) {
      if (!connection.left.isOpen && !connection.right.isOpen) connections.delete(connection);
      const isOfHost = connection.left.place.name === name || connection.right.place.name === name;
      if (isOfHost && random.isLucky(0.5)) connection.break();
    }
  }
}

export function describe({ atMs, kind, ...rest }: Fault): string {
  return `${atMs} ${kind} ${JSON.stringify(rest)}`;
}
