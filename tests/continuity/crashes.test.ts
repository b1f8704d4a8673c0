import { afterAll, expect, test } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { crash, nothingMayHappen } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { broken, closedWithOwner, scenario, someFailures, someForgotten } from "./scenario.ts";
import { leaseTtlMs } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);
const limitMs = 90_000;

/** What an object remembers after its owner is gone, by its durability. */
const classes = [
  { className: "talk", lives: 2, calls: someForgotten },
  { className: "talk-durable", lives: 1, calls: someFailures },
] as const;

for (const { className, lives, calls } of classes) {
  test(
    `${className}: its owner is killed, and another host goes on (seed ${seed})`,
    async () => {
      const plan = { name: `owner killed, ${className}`, seed, object: `/${className}/x` };
      await scenario(plan, async ({ stage, load, owner, object }) => {
        const { id } = owner;
        await owner.kill();
        await load.goesOn();
        expect((await stage.owner(object)).id).not.toBe(id);
        await stage.restart(owner, "same port");
        return { talk: crash(1, lives, [broken(id), ...closedWithOwner()]), calls };
      });
    },
    limitMs,
  );

  test(
    `${className}: its owner is frozen for longer than its lease, and thaws (seed ${seed})`,
    async () => {
      const plan = { name: `owner frozen, ${className}`, seed, object: `/${className}/x` };
      await scenario(plan, async ({ stage, load, owner, object }) => {
        owner.freeze();
        // Callers that happen upon the frozen host wait there; the clients elsewhere are served by whoever takes over.
        await load.goesOn(5, undefined, [owner]);
        expect((await stage.owner(object, [owner])).id).not.toBe(owner.id);
        owner.thaw();
        await load.goesOn();
        // Its clients' sockets are open, and their messages wait in them, while it stands still.
        return { talk: crash(2, lives, closedWithOwner()), calls };
      });
    },
    limitMs,
  );
}

test(
  `an edge is killed: only its own clients notice (seed ${seed})`,
  async () => {
    const plan = { name: "edge killed", seed, object: "/talk/x" };
    const report = await scenario(plan, async ({ stage, load, owner }) => {
      const edge = stage.other(owner);
      const { id } = edge;
      await edge.kill();
      await load.goesOn();
      await stage.restart(edge, "new port");
      return { talk: { ...nothingMayHappen, closings: [broken(id)] }, calls: someFailures };
    });
    expect(report.talk.totals.ownerChanges).toBe(0);
  },
  limitMs,
);

for (const { className, lives, calls } of classes)
  for (const how of ["killed", "frozen"] as const)
    test(
      `${className}: the primary is ${how} for longer than a lease, and everybody is served again (seed ${seed})`,
      async () => {
        const plan = { name: `primary ${how}, ${className}`, seed, object: `/${className}/x` };
        await scenario(plan, async ({ stage: { sqld }, load }) => {
          if (how === "killed") await sqld.kill();
          else sqld.freeze();
          await Bun.sleep(leaseTtlMs * 2.5); // the length of the outage
          if (how === "killed") await sqld.run();
          else sqld.thaw();
          await load.goesOn();
          // All sessions are over: whichever host is first in the directory then has the object, be it a new copy of it.
          return { talk: crash(2, lives, closedWithOwner()), calls };
        });
      },
      limitMs,
    );

test(
  `all hosts are killed at once and started again: nothing that was told is lost (seed ${seed})`,
  async () => {
    const plan = { name: "all killed", seed, object: "/talk-durable/x" };
    await scenario(plan, async ({ stage, load, random }) => {
      const closings = stage.hosts.map(({ id }) => broken(id));
      await Promise.all(stage.hosts.map((host) => host.kill()));
      await Promise.all(
        stage.hosts.map((host) => stage.restart(host, random.isLucky(0.5) ? "same port" : "new port")),
      );
      await load.goesOn();
      return { talk: crash(1, 1, closings), calls: someFailures };
    });
  },
  limitMs,
);
