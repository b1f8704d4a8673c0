import { leaseTtlMs } from "./chaos-stage.ts";
import { cut, type Fault, freeze } from "./faults.ts";

/** Cases that are known to be hard, of several faults that meet at a bad moment. */
export const hardCases = {
  /** Nobody can renew, and the owner cannot be asked. */
  "frozen-primary-and-cut-owner": {
    touches: "everything",
    async play(strike) {
      const owner = await strike.claimOwner();
      const others = strike.stage.hosts.filter((host) => host !== owner);
      const links = others.map((other) => [owner, other] as const);
      await Promise.all([
        freeze(strike, "primary", { min: 1.2 * leaseTtlMs, max: 2 * leaseTtlMs }),
        cut(strike, links, { min: leaseTtlMs, max: 3 * leaseTtlMs }, "both"),
      ]);
    },
  },
  "full-disk-and-moves": {
    needs: "disk",
    touches: "everything",
    async play(strike) {
      const moving = [strike.moveAll()];
      await strike.stage.disk.fill();
      strike.note("the primary's disk is full, and objects move");
      try {
        moving.push(strike.moveAll());
        await strike.wait({ min: 500, max: 1.5 * leaseTtlMs });
      } finally {
        await strike.stage.disk.free();
        strike.note("the primary's disk has room");
      }
      await Promise.all(moving);
    },
  },
  /** What it said meanwhile, nobody may have heard: none of it is stored. */
  "killed-owner-and-frozen-primary": {
    touches: "everything",
    async play(strike) {
      const owner = await strike.claimOwner();
      strike.note("SIGSTOP of the primary");
      strike.stage.primary.freeze();
      try {
        await strike.wait({ min: 100, max: 0.6 * leaseTtlMs });
        strike.note(`kill -9 of ${owner.id}`);
        await owner.kill();
        await strike.wait({ min: 0, max: leaseTtlMs });
      } finally {
        strike.stage.primary.thaw();
        strike.note("SIGCONT of the primary");
      }
      await strike.stage.runHost(owner);
    },
  },
  /** What the replica says is long untrue, and then the log that it follows begins anew. */
  "lagging-replica-and-restarted-primary": {
    touches: "everything",
    async play(strike) {
      const lag = cut(strike, [["primary", "replica"]], { min: 2 * leaseTtlMs, max: 3 * leaseTtlMs }, "both");
      await strike.moveAll();
      strike.note("kill -9 of the primary");
      await strike.stage.primary.kill();
      await strike.wait({ min: 0, max: leaseTtlMs });
      await strike.stage.runServer("primary");
      await strike.moveAll();
      await lag;
    },
  },
  /** By its own clock the lease of this owner does not end for an hour. */
  "owner-clock-back-and-frozen-primary": {
    needs: "clocks",
    touches: "everything",
    async play(strike) {
      const owner = await strike.claimOwner();
      strike.note(`the clock of ${owner.id} jumps back by an hour`);
      await strike.stage.shiftHost(owner, -3_600_000);
      const cutOff = cut(
        strike,
        [[owner, "primary"]],
        { min: 1.2 * leaseTtlMs, max: 2 * leaseTtlMs },
        "both",
      );
      await freeze(strike, "primary", { min: 200, max: leaseTtlMs });
      await cutOff;
      await strike.stage.shiftHost(owner, 0);
      strike.note(`the clock of ${owner.id} is set right`);
    },
  },
  /** The target of a move stands still in the middle of it, or its source does. */
  "moves-and-frozen-host": {
    touches: "everything",
    async play(strike) {
      const moving = strike.moveAll();
      await strike.wait({ min: 0, max: 40 });
      await Promise.all([moving, freeze(strike, strike.claimHost())]);
    },
  },
  "moves-and-killed-primary": {
    touches: "everything",
    async play(strike) {
      const moving = strike.moveAll();
      await strike.wait({ min: 0, max: 40 });
      strike.note("kill -9 of the primary");
      await strike.stage.primary.kill();
      await strike.wait({ min: 0, max: leaseTtlMs });
      await strike.stage.runServer("primary");
      await moving;
    },
  },
} as const satisfies Record<string, Fault>;
