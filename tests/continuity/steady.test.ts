import { afterAll, expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { nothingMayHappen } from "./conversation.ts";
import { endStage } from "./kept-stage.ts";
import { Load } from "./load.ts";
import { noFailures, scenario } from "./scenario.ts";
import { longLeaseTtlMs, Stage } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
afterAll(endStage);

for (const className of ["talk", "talk-durable"])
  test(`${className}: while nothing happens, nothing is lost, repeated or overtaken (seed ${seed})`, async () => {
    const plan = { name: `steady ${className}`, seed, object: `/${className}/x`, leaseTtlMs: longLeaseTtlMs };
    const report = await scenario(plan, async ({ load }) => {
      await load.goesOn(50);
      return { talk: nothingMayHappen, calls: noFailures };
    });
    expect(report.talk.totals.ownerChanges).toBe(0);
    expect(report.talk.totals.answered).toBeGreaterThan(9 * 50);
  }, 60_000);

test(`an object that loses, repeats and forks on purpose is found out, and its other clients are not accused (seed ${seed})`, async () => {
  await using stage = await Stage.open({ hosts: 2 });
  const random = new SeededRandom(seed);
  const load = await Load.start(stage, { object: "/talk-faulty/x", random, clients: 4, callers: 0 });
  await load.goesOn(20);
  const { offences, talk } = await load.finish(nothingMayHappen, noFailures);
  const answers = offences.filter(({ text }) => /answer/.test(text));
  expect(answers.map(({ kind, client }) => `${kind} ${client}`).sort()).toEqual(["lost c1", "repeated c1"]);
  const ofTopic = offences.filter(({ text }) => /topic/.test(text));
  const perClient = ["c0", "c1", "c2", "c3"].flatMap((client) => [`lost ${client}`, `repeated ${client}`]);
  expect(ofTopic.map(({ kind, client }) => `${kind} ${client}`).sort()).toEqual(perClient.sort());
  const rest = offences.filter((offence) => !answers.includes(offence) && !ofTopic.includes(offence));
  expect(rest.map(({ kind }) => kind)).toEqual(["forked"]);
  expect(talk.totals).toMatchObject({ lost: 1, topicMissing: 4 });
}, 60_000);
