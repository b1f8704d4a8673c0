import { afterAll, expect } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { seedFrom } from "../support/seeded-random.ts";
import { until } from "../support/wait.ts";
import { whenBuilt } from "./built.ts";
import { crash, plannedMove } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { broken, closedWithOwner, noFailures, type Scene, scenario, someFailures } from "./scenario.ts";
import { ask, longLeaseTtlMs, type MoveAnswer, type Stage } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);
/** Where no host dies. */
const lives = { seed, leaseTtlMs: longLeaseTtlMs };
const limitMs = 120_000;
const whenMoved = whenBuilt("moves");
const moves = 12;
const killRounds = 4;
/** How long after a move was asked for one of its two hosts is killed, at most: about as long as a move takes. */
const killAfterMsMax = 25;
const transactionMs = 800;

for (const className of ["talk", "talk-durable"])
  whenMoved(
    `${className}: ${moves} moves between three hosts under load: nothing lost, repeated or overtaken (seed ${seed})`,
    async () => {
      const plan = { ...lives, name: `back and forth, ${className}`, object: `/${className}/x` };
      const pausesMs: number[] = [];
      const report = await scenario(plan, async ({ stage, load, object, random }) => {
        for (let n = 0; n < moves; n += 1) {
          const from = await stage.owner(object);
          const to = random.pick(stage.others(from));
          const answer = await stage.move(object, to, random.pick(stage.hosts));
          expect(answer).toMatchObject({ status: 200, from: from.id, to: to.id });
          pausesMs.push(answer.pauseMs ?? Number.NaN);
          expect((await stage.owner(object)).id).toBe(to.id);
          await load.goesOn(2);
        }
        return { talk: plannedMove(), calls: noFailures };
      });
      pausesMs.sort((a, b) => a - b);
      console.log(`continuity: back and forth, ${className}: pauses as told ${pausesMs.join(" ")} ms`);
      expect(report.talk.totals.ownerChanges).toBe(moves);
    },
    limitMs,
  );

whenMoved(
  `two moves of one object at once: it is at one of the two places, and nothing is lost (seed ${seed})`,
  async () => {
    const plan = { ...lives, name: "two moves at once", object: "/talk/x" };
    await scenario(plan, async ({ stage, load, object }) => {
      for (let round = 0; round < 4; round += 1) {
        const from = await stage.owner(object);
        const targets = stage.others(from);
        const answers = await Promise.all(targets.map((to) => stage.move(object, to, from)));
        const done = answers.filter(({ status }) => status === 200);
        expect(done.length).toBeGreaterThan(0);
        // Whoever was refused is told so in a problem document, and not left without an answer.
        for (const { status, code } of answers) if (status !== 200) expect(code).toBeString();
        expect(done.map(({ to }) => to)).toContain((await stage.owner(object)).id);
        await load.goesOn(2);
      }
      return { talk: plannedMove(), calls: noFailures };
    });
  },
  limitMs,
);

whenMoved(
  `a move while a transaction is open: it is done once, and answered (seed ${seed})`,
  async () => {
    const plan = { ...lives, name: "move in a transaction", object: "/talk-durable/x" };
    await scenario(plan, async ({ stage, load, object, owner }) => {
      const other = stage.other(owner);
      for (let round = 1; round <= 3; round += 1) {
        const from = await stage.owner(object);
        const to = stage.other(from);
        const transaction = ask(other, `${object}/transaction?forMs=${transactionMs}`, { method: "POST" });
        await until("the transaction is open", () => isInTransaction(stage, from, object));
        const move = await stage.move(object, to);
        expect(await transaction).toMatchObject({ status: 200, sum: round });
        expect(move).toMatchObject({ status: 200, to: to.id });
        expect(await ask(other, `${object}/sum`)).toMatchObject({ status: 200, sum: round, owner: to.id });
        await load.goesOn(2);
      }
      return { talk: plannedMove(), calls: noFailures };
    });
  },
  limitMs,
);

whenMoved(
  `a move while a streamed response and a slow handler are open: neither is repeated (seed ${seed})`,
  async () => {
    const plan = { ...lives, name: "move in a stream", object: "/talk/x" };
    const upTo = 40;
    await scenario(plan, async ({ stage, object, owner }) => {
      const other = stage.other(owner);
      const stream = eventsOf(other, `${object}/stream?upTo=${upTo}&forMs=50`);
      const slow = ask(other, `${object}/slow?forMs=${transactionMs}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ client: "slow", n: 1 }),
      });
      const move = await stage.move(object, stage.other(owner, other));
      expectMoveAnswer(move);
      expect((await slow).status).toBe(200);
      expect(await ask(other, `${object}/counted`)).toMatchObject({ counted: { slow: [[1, 1]] }, twice: [] });
      const events = await stream;
      console.log(`continuity: move in a stream: ${events.length} of ${upTo} events, move ${move.status}`);
      // Whether a long stream holds a move up or is cut by it: what has come is the beginning, without a hole.
      expect(events).toEqual(Array.from({ length: events.length }, (_, index) => index + 1));
      if (move.status !== 200) expect(events.length).toBe(upTo);
      return { talk: plannedMove(), calls: noFailures };
    });
  },
  limitMs,
);

/**
 * Asks for moves, and kills one of the two hosts in the middle of each; resolves with the ids of those that were killed. In
 * every other round a transaction is open, so that the move cannot have ended when the blow falls; in the rest it falls at a
 * time of the seed's.
 */
async function killInMoves(
  { stage, load, object, random }: Scene,
  victimOf: (from: HostProcess, to: HostProcess) => HostProcess,
): Promise<string[]> {
  const killed: string[] = [];
  const answered: string[] = [];
  for (let round = 0; round < killRounds; round += 1) {
    const isHeld = round % 2 === 1;
    const from = await stage.owner(object);
    const to = random.pick(stage.others(from));
    const via = stage.other(from, to);
    if (isHeld) void ask(via, `${object}/transaction?forMs=${transactionMs}`, { method: "POST" });
    if (isHeld) await until("the transaction is open", () => isInTransaction(stage, from, object));
    const move = stage.move(object, to, via);
    await Bun.sleep(random.between(0, isHeld ? transactionMs / 2 : killAfterMsMax)); // the seed's: when, not what for
    const victim = victimOf(from, to);
    killed.push(victim.id);
    await victim.kill();
    const answer = await move;
    expectMoveAnswer(answer);
    answered.push(`${answer.status} ${answer.code ?? ""}`.trim());
    await load.goesOn();
    await stage.restart(victim, random.isLucky(0.5) ? "same port" : "new port");
    await stage.allKnowAll();
  }
  console.log(`continuity: moves whose hosts were killed were answered: ${answered.join(", ")}`);
  return killed;
}

whenMoved(
  `the target of a move dies in its middle: the object goes on, and knows all it told (seed ${seed})`,
  async () => {
    const plan = { name: "target dies", seed, object: "/talk-durable/x" };
    await scenario(plan, async (scene) => {
      const killed = await killInMoves(scene, (_, to) => to);
      const talk = crash(killed.length, 1, [...killed.map(broken), ...closedWithOwner()]);
      return { talk, calls: someFailures };
    });
  },
  limitMs,
);

whenMoved(
  `the source of a move dies in its middle: the object goes on, and knows all it told (seed ${seed})`,
  async () => {
    const plan = { name: "source dies", seed, object: "/talk-durable/x" };
    await scenario(plan, async (scene) => {
      const killed = await killInMoves(scene, (from) => from);
      const talk = crash(killed.length, 1, [...killed.map(broken), ...closedWithOwner()]);
      return { talk, calls: someFailures };
    });
  },
  limitMs,
);

/** Asked of another object of the same process: this one answers nobody before its transaction is over. */
async function isInTransaction(stage: Stage, owner: HostProcess, object: string): Promise<boolean> {
  const beside = `/talk/beside-${owner.id}`;
  const { inTransaction, owner: at } = await ask(owner, beside);
  // Hosts that are equally near share new objects among them.
  if (at !== owner.id) await stage.move(beside, owner);
  return Array.isArray(inTransaction) && inTransaction.includes(object.split("/").at(-1));
}

/** A move was done, or something that a host is behind prevented it: not that nobody knows of moves. */
function expectMoveAnswer({ status, code = "", detail = "" }: MoveAnswer): void {
  const isAnswer = status === 200 || status === 409 || status >= 500;
  expect(isAnswer, `a move was answered with ${status} ${code}: ${detail}`).toBe(true);
}

/** The numbers of the events of a stream, until it ends in one way or another. */
async function eventsOf(host: HostProcess, path: string): Promise<number[]> {
  const response = await fetch(host.url(path), { headers: { accept: "text/event-stream" } });
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  } catch {
    // Cut: what came before is looked at.
  }
  return Array.from(text.matchAll(/^id: ?(\d+)$/gm), ([, id]) => Number(id));
}
