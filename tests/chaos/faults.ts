import type { HostProcess } from "../support/host-process.ts";
import { leaseTtlMs, marginMs, type Station } from "./chaos-stage.ts";
import type { Strike } from "./strike.ts";

/** One kind of thing that befalls processes, and the ways between them; over when `play` resolves. */
export interface Fault {
  readonly needs?: "disk" | "clocks" | "loss";
  /** What two faults at once must not share. Hosts are claimed one by one. */
  readonly touches: "hosts" | "primary" | "replica" | "everything";
  play(strike: Strike): Promise<void>;
}

/** Less than a lease, or more; both are met. */
const aroundLease = { min: 200, max: 2.5 * leaseTtlMs } as const;
const hourMs = 3_600_000;

export const faults = {
  "kill-host": {
    touches: "hosts",
    async play(strike) {
      const host = strike.claimHost();
      strike.note(`kill -9 of ${host.id}`);
      await host.kill();
      await strike.wait({ min: 200, max: 2 * leaseTtlMs });
      await strike.stage.runHost(host);
    },
  },
  "drain-host": {
    touches: "hosts",
    async play(strike) {
      const host = strike.claimHost();
      strike.note(`drain of ${host.id}`);
      const code = await host.stop();
      if (code !== 0) strike.offend("ended", `${host.id} ended with ${code} when it was told to stop`);
      await strike.stage.runHost(host);
    },
  },
  "freeze-host": {
    touches: "hosts",
    play: (strike) => freeze(strike, strike.claimHost()),
  },
  "cut-hosts": {
    touches: "hosts",
    async play(strike) {
      const [one, other] = [strike.claimHost(), strike.claimHost()];
      await cut(strike, [[one, other]], { min: 300, max: 8_000 });
    },
  },
  "cut-primary": {
    touches: "hosts",
    play: (strike) => cut(strike, [[strike.claimHost(), "primary"]], aroundLease),
  },
  "isolate-host": {
    touches: "hosts",
    async play(strike) {
      const host = strike.claimHost();
      const all: Station[] = [...strike.stage.hosts.filter((other) => other !== host), "primary", "replica"];
      await cut(
        strike,
        all.map((other) => [host, other]),
        aroundLease,
        "both",
      );
    },
  },
  "kill-primary": {
    touches: "primary",
    async play(strike) {
      strike.note("kill -9 of the primary");
      await strike.stage.primary.kill();
      await strike.wait({ min: 0, max: 2 * leaseTtlMs });
      await strike.stage.runServer("primary");
    },
  },
  "freeze-primary": { touches: "primary", play: (strike) => freeze(strike, "primary") },
  "lose-replica": {
    touches: "replica",
    async play(strike) {
      if (strike.random.isLucky(0.5)) return freeze(strike, "replica");
      strike.note("kill -9 of the replica");
      await strike.stage.server("replica").kill();
      await strike.wait(aroundLease);
      await strike.stage.runServer("replica");
    },
  },
  "lag-replica": {
    touches: "replica",
    play: (strike) => cut(strike, [["primary", "replica"]], { min: leaseTtlMs, max: 3 * leaseTtlMs }, "both"),
  },
  "fill-disk": {
    needs: "disk",
    touches: "primary",
    async play(strike) {
      strike.note("the primary's disk is full");
      await strike.stage.disk.fill();
      await strike.wait({ min: 500, max: 2 * leaseTtlMs });
      await strike.stage.disk.free();
      strike.note("the primary's disk has room");
    },
  },
  "slow-link": {
    touches: "hosts",
    async play(strike) {
      const station = strike.random.isLucky(0.3) ? "primary" : strike.claimHost();
      strike.note(`a slow link of ${nameOf(station)}`);
      await until(strike, await strike.stage.slow(station), { min: 1_500, max: 6_000 });
    },
  },
  "lossy-link": {
    needs: "loss",
    touches: "hosts",
    async play(strike) {
      const station = strike.random.isLucky(0.3) ? "primary" : strike.claimHost();
      const share = strike.random.between(2, 25) / 100;
      strike.note(`${share * 100} % of what is sent to ${nameOf(station)} is lost`);
      await until(strike, await strike.stage.lose(station, share), { min: 1_500, max: 6_000 });
    },
  },
  "step-host-clock": {
    needs: "clocks",
    touches: "hosts",
    async play(strike) {
      const host = strike.claimHost();
      const size = strike.random.pick([marginMs / 2, leaseTtlMs, hourMs]);
      const aheadMs = strike.random.pick([-size, size]);
      strike.note(`the clock of ${host.id} jumps by ${aheadMs / 1_000} s`);
      await strike.stage.shiftHost(host, aheadMs);
      await strike.wait({ min: 500, max: leaseTtlMs });
      strike.note(`the clock of ${host.id} is set right`);
      await strike.stage.shiftHost(host, 0);
    },
  },
  /** Ahead by less than the margin within a lease time, or back by any: and not set right, which would be a jump ahead. */
  "step-primary-clock": {
    needs: "clocks",
    touches: "primary",
    async play(strike) {
      const byMs = strike.random.pick([0.4 * marginMs, -marginMs, -leaseTtlMs, -hourMs]);
      strike.note(`the primary's clock jumps by ${Math.round(byMs) / 1_000} s`);
      await strike.stage.stepPrimary(byMs);
      await strike.wait({ min: 500, max: leaseTtlMs });
      // Who dies meanwhile has to be missed, whatever the clock says.
      if (!strike.random.isLucky(0.5) || strike.isWithAnother) return;
      await faults["kill-host"].play(strike);
    },
  },
  moves: {
    touches: "hosts",
    async play(strike) {
      for (let turn = 0; turn < 3; turn += 1) await strike.moveAll();
    },
  },
} as const satisfies Record<string, Fault>;

export async function freeze(
  strike: Strike,
  station: Station,
  range: { readonly min: number; readonly max: number } = aroundLease,
): Promise<void> {
  const frozen = typeof station === "string" ? strike.stage.server(station) : station;
  strike.note(`SIGSTOP of ${nameOf(station)}`);
  frozen.freeze();
  await until(strike, async () => frozen.thaw(), range);
  strike.note(`SIGCONT of ${nameOf(station)}`);
}

export async function cut(
  strike: Strike,
  pairs: readonly (readonly [Station, Station])[],
  range: { readonly min: number; readonly max: number },
  direction: "both" | "a to b" = strike.random.pick(["both", "a to b"]),
): Promise<void> {
  const names = pairs.map(([one, other]) => `${nameOf(one)} and ${nameOf(other)}`).join(", ");
  strike.note(`cut between ${names}, ${direction === "both" ? "both ways" : "from the first to the second"}`);
  const heals: (() => Promise<void>)[] = [];
  for (const [one, other] of pairs) heals.push(await strike.stage.cut(one, other, direction));
  await until(strike, async () => void (await Promise.all(heals.map((heal) => heal()))), range);
  strike.note(`healed between ${names}`);
}

/** What was done is undone in any case. */
async function until(
  strike: Strike,
  undo: () => Promise<void>,
  range: { readonly min: number; readonly max: number },
): Promise<void> {
  try {
    await strike.wait(range);
  } finally {
    await undo();
  }
}

export function nameOf(station: Station): string {
  return typeof station === "string" ? `the ${station}` : (station satisfies HostProcess).id;
}
