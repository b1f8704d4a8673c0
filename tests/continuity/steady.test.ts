import { afterEach, expect, test } from "bun:test";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";
import { nothingMayHappen } from "./conversation.ts";
import { Load, tell } from "./load.ts";
import { noFailures } from "./scenario.ts";
import { Stage } from "./stage.ts";

const seed = seedFrom("CONTINUITY_SEED");
let stage: Stage | undefined;
afterEach(() => stage?.close());

for (const className of ["talk", "talk-durable"])
  test(`${className}: while nothing happens, nothing is lost, repeated or overtaken (seed ${seed})`, async () => {
    stage = await Stage.open();
    const load = await Load.start(stage, { object: `/${className}/x`, random: new SeededRandom(seed) });
    await load.goesOn(50);
    const report = await load.finish(nothingMayHappen, noFailures);
    expect(tell(`steady ${className}`, seed, report)).toEqual([]);
    expect(report.talk.totals.ownerChanges).toBe(0);
    expect(report.talk.totals.answered).toBeGreaterThan(9 * 50);
  }, 60_000);

test(`an object that loses, repeats and forks on purpose is found out, and its other clients are not accused (seed ${seed})`, async () => {
  stage = await Stage.open({ hosts: 2 });
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
