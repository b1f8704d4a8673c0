import { afterAll, expect } from "bun:test";
import { seedFrom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import { whenBuilt } from "./built.ts";
import { nothingMayHappen } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { noFailures, type Scene, scenario } from "./scenario.ts";
import { ask, heartbeatMs } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);
const limitMs = 120_000;
/** Longer than two hosts take to see that they do not hear each other. */
const silenceMs = 5 * heartbeatMs;
const whenAsleep = whenBuilt("sleep", "reattach");
const plan = { seed, object: "/talk-sleepy/x", callers: 0 };

/** Everybody falls silent, and the object with them, its sockets open. */
async function fallAsleep({ load, owner }: Scene): Promise<void> {
  for (const client of load.clients) client.silence();
  await until("the object sleeps", async () => (await ask(owner, "/-/health")).objects === 0, 15_000);
  expect(load.clients.every(({ isOpen }) => isOpen)).toBe(true);
}

function wakeUp({ load }: Scene): Promise<void> {
  for (const client of load.clients) client.speak();
  return load.goesOn();
}

whenAsleep(
  `an object sleeps and wakes under its open sockets, and nothing is lost (seed ${seed})`,
  async () => {
    await scenario({ ...plan, name: "asleep" }, async (scene) => {
      for (let round = 0; round < 3; round += 1) {
        await fallAsleep(scene);
        await wakeUp(scene);
      }
      return { talk: nothingMayHappen, calls: noFailures };
    });
  },
  limitMs,
);

whenAsleep(
  `an object sleeps while an edge loses the owner and finds it again: that edge's sockets hear what it says next (seed ${seed})`,
  async () => {
    await scenario({ ...plan, name: "asleep, edge reconnects", cutsWays: true }, async (scene) => {
      const { stage, owner, object } = scene;
      const edge = stage.other(owner);
      await fallAsleep(scene);
      await stage.cut(edge, owner);
      await Bun.sleep(silenceMs); // the length of the cut
      await stage.heal(edge, owner);
      // Said by somebody at a third host, before anybody at the edge has said anything.
      const said = { client: "third", n: 1 };
      const answer = await ask(stage.other(owner, edge), `${object}/say`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(said),
      });
      expect(answer.status).toBe(200);
      const heard = () => scene.load.clients.filter(({ topicEnd }) => topicEnd?.number === answer.number);
      await until("all clients hear it", () => heard().length === scene.load.clients.length, 20_000);
      await wakeUp(scene);
      return { talk: nothingMayHappen, calls: noFailures };
    });
  },
  limitMs,
);

whenAsleep(
  `an object sleeps while its owner is killed: its sockets stay open, and hear the next owner (seed ${seed})`,
  async () => {
    await scenario({ ...plan, name: "asleep, owner killed" }, async (scene) => {
      const { id } = scene.owner;
      await fallAsleep(scene);
      await scene.owner.kill();
      await wakeUp(scene);
      // Whoever speaks first wakes it; edges that find it a moment later miss what was said until then.
      const closings = [{ edge: id, codes: [1006] }];
      return { talk: { ...nothingMayHappen, topicGapsMax: 1, closings }, calls: noFailures };
    });
  },
  limitMs,
);
