import type { Figure, Measure } from "../figure.ts";
import { medianOf, spreadOf } from "../pace.ts";
import type { Drained, HostQuestion } from "../servers/stateful-host.ts";
import { healthOf, type Server, Stage } from "../stage.ts";

const objects = 10_000;
const callers = 64;
/** All of them in ten seconds. */
const goalPerSecond = objects / 10;

/** A host with live objects goes away, and another has them, with a real libSQL server between the two. */
export const drainRate: Measure = {
  name: "drain-rate",
  async run({ rounds }) {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) rates.push(await drainedPerSecond());
    const figure: Figure = {
      measure: `drain of ${objects.toLocaleString("en-US")} live objects`,
      unit: "/s",
      ours: medianOf(rates),
      reference: goalPerSecond,
      against: "to be met",
      ratio: spreadOf(rates.map((rate) => rate / goalPerSecond)),
      goal: { text: "≥ 1", isMet: medianOf(rates) >= goalPerSecond },
    };
    return [figure];
  },
};

function drainedPerSecond(): Promise<number> {
  return Stage.with(async (stage) => {
    const { url: directoryUrl } = (await stage.database()).ready;
    const source = await stage.host({ directoryUrl });
    await startAll(source);
    const setup = { directoryUrl, runsClasses: true };
    const target = await stage.start<Server["ready"]>("servers/stateful-host.ts", setup, "load");
    await stage.knowsOthers(source, 1);
    const question: HostQuestion = { ask: "drain" };
    const { moved, ms } = await source.ask<Drained>(question);
    if (moved !== objects) throw new Error(`${moved} of ${objects} objects have moved.`);
    const { objects: arrived } = await healthOf(target);
    if (arrived !== objects) throw new Error(`${arrived} of ${objects} objects have arrived.`);
    return moved / (ms / 1000);
  });
}

/** Each with a state that its move carries. */
async function startAll({ ready: { port } }: Server): Promise<void> {
  let next = 0;
  const call = async () => {
    while (next < objects) {
      const init = {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ by: 1 }),
      };
      const answer = await fetch(`http://127.0.0.1:${port}/counter/d${next++}/add`, init);
      if (!answer.ok) throw new Error(`An object did not start: ${answer.status} ${await answer.text()}`);
      await answer.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
}
