import { SeededRandom } from "../../support/seeded-random.ts";
import { built } from "../built.ts";
import { type Offence, offenceLines } from "../offence.ts";
import { Stage } from "../stage.ts";
import { Audience } from "./audience.ts";
import { checkListeners } from "./listeners-check.ts";
import { objectOf } from "./listening.ts";
import { Publisher } from "./publisher.ts";
import { settle } from "./settling.ts";
import { spread, type UpheavalName, Upheavals } from "./upheavals.ts";

export interface TopicsPlan {
  readonly seed: number;
  readonly seconds: number;
  /** What may happen; by the seed, for as long as the run takes. */
  readonly upheavals: readonly UpheavalName[];
}

export interface TopicsReport {
  readonly figures: readonly string[];
  readonly offences: readonly Offence[];
  /** What happened to hosts and objects, and when. */
  readonly journal: readonly string[];
}

const objects = ["board/a", "board/b", "board-durable/a", "board-durable/b"];
const addresses = objects.flatMap((object) => ["news", "wall"].map((topic) => `${object}/-/topics/${topic}`));
const audience = { framed: 6, events: 8, raw: 8 } as const;
const publishers = 4;
const everyMs = 100;
const pauseMs = { min: 300, max: 2_000 } as const;

/**
 * Clients of every kind at three edges, which listen, publish, leave and come back elsewhere, while hosts are killed and objects
 * moved; then all that everybody has heard is compared. Everything that is chosen comes from the seed; what becomes of it is up
 * to the clocks, so a seed repeats a run about, and not to the millisecond.
 */
export async function runTopics({ seed, seconds, upheavals }: TopicsPlan): Promise<TopicsReport> {
  const random = new SeededRandom(seed);
  const stage = await Stage.open({ hosts: 3, cutsWays: upheavals.includes("cut") });
  const { hosts } = stage;
  const crowd = new Audience({ hosts, addresses, random: random.fork(), ...audience });
  const speakers = Array.from(
    { length: publishers },
    (_, index) => new Publisher({ name: `http${index}`, hosts, addresses, random: random.fork(), everyMs }),
  );
  const done = new Upheavals({ stage, objects, random: random.fork(), forgets });
  try {
    await spread(stage, objects);
    crowd.start();
    for (const speaker of speakers) speaker.start();
    const endsAtMs = performance.now() + seconds * 1_000;
    // Each in turn: a short run has had all of them.
    for (let turn = 0; performance.now() < endsAtMs; turn += 1) {
      await Bun.sleep(random.between(pauseMs.min, pauseMs.max)); // the pace of what happens
      await done.play(upheavals[turn % upheavals.length] ?? random.pick(upheavals));
    }
    await Promise.all([crowd.silence(), ...speakers.map((speaker) => speaker.stop())]);
    const last = new Publisher({ name: "last", hosts, addresses, random, everyMs });
    const offences = await settle(crowd, last, random);
    const all = [...crowd.publishings, ...[...speakers, last].flatMap((speaker) => speaker.publishings)];
    done.noteUnplanned();
    const found = checkListeners(crowd.notes, all, done);
    return {
      offences: [...offences, ...found.offences],
      figures: figuresOf(found.totals, done, crowd),
      journal: done.journal,
    };
  } catch (error) {
    for (const entry of done.journal) console.log(`topics: ${entry}`);
    throw error;
  } finally {
    await Promise.all([crowd.stop(), ...speakers.map((speaker) => speaker.stop())]);
    await stage.close();
  }
}

/** What a class says of its state goes for what its topics have said, too, once that is built. */
function forgets(object: string): boolean {
  return !(built.durableHistory && objectOf(object).startsWith("board-durable/"));
}

function figuresOf(
  { published, acknowledged, heard, resumes, gapsTold, closed }: ReturnType<typeof checkListeners>["totals"],
  { counts }: Upheavals,
  { refused }: Audience,
): string[] {
  const list = (pairs: Iterable<readonly [unknown, number]>) =>
    Array.from(pairs, ([what, count]) => `${count} ${what}`).join(", ") || "none";
  return [
    `${published} published, ${acknowledged} of them acknowledged; ${heard} heard`,
    `resumes: ${resumes.recovered} with recovered true, ${resumes.lost} with false; ${gapsTold} gaps told to those who stayed`,
    `${closed} subscriptions closed by the host; refusals by status: ${list([...refused].map(([status, count]) => [`x ${status}`, count]))}`,
    list(Object.entries(counts)),
  ];
}

/** Prints the figures, and what is wrong with the line that replays it; for a test, the offences as text. */
export function tellTopics(
  { seed, seconds, upheavals }: TopicsPlan,
  { figures, offences, journal }: TopicsReport,
): string[] {
  const lines = offenceLines(offences);
  for (const line of [...figures, `${offences.length} violations`, ...lines]) console.log(`topics: ${line}`);
  const replay = `bun run topics ${seed} --minutes ${seconds / 60} --upheavals ${upheavals.join(",")}`;
  if (lines.length === 0) return lines;
  for (const entry of journal) console.log(`topics: ${entry}`);
  console.log(`topics: replay with: ${replay}`);
  return lines;
}
