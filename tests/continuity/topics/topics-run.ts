import { SeededRandom } from "../../support/seeded-random.ts";
import { until } from "../../support/wait.ts";
import { built } from "../built.ts";
import { type Offence, offenceLines } from "../offence.ts";
import { recoveryLimitMs, Stage } from "../stage.ts";
import { Audience } from "./audience.ts";
import { checkListeners } from "./listeners-check.ts";
import { objectOf, type Publishing } from "./listening.ts";
import { checkPresence } from "./presence-check.ts";
import { Publisher } from "./publisher.ts";
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
  const stage = await Stage.open({ hosts: 3 });
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
    const found = checkListeners(crowd.notes, all, done);
    return {
      offences: [...offences, ...found.offences],
      figures: figuresOf(found.totals, done, crowd),
    };
  } finally {
    await Promise.all([crowd.stop(), ...speakers.map((speaker) => speaker.stop())]);
    await stage.close();
  }
}

/** Until everybody is back and has heard a last word of each topic, and knows who else is there. What does not come is told of. */
async function settle(crowd: Audience, last: Publisher, random: SeededRandom): Promise<Offence[]> {
  crowd.settle();
  const words = new Map<string, Publishing[]>();
  const waiting = () => crowd.notes.filter((notes) => !hasHeard(notes.told, words.get(notes.address)));
  await until(
    "everybody has heard a last word",
    async () => {
      const silent = new Set(waiting().map(({ address }) => address));
      for (const address of silent) await lastWord(address);
      return silent.size === 0;
    },
    2 * recoveryLimitMs,
  ).catch(() => undefined);
  async function lastWord(address: string): Promise<void> {
    const said = words.get(address) ?? [];
    words.set(address, [...said, await last.say(address, random.pick(last.hosts))]);
    await Bun.sleep(100); // time to hear it, before another is said
  }
  const offences = waiting().map(({ listener, address, isOpen }): Offence => {
    const text = `${address}: has not heard a last word; it is ${isOpen ? "" : "not "}connected`;
    return { kind: "unsettled", client: listener, text };
  });
  const presence = () => {
    const walls = crowd.notes.filter(({ address, kind }) => address.endsWith("/wall") && kind !== "raw");
    return checkPresence(
      walls.map(({ watching }) => watching),
      crowd.connected,
    );
  };
  await until("everybody knows who is there", () => presence().length === 0, recoveryLimitMs).catch(
    () => undefined,
  );
  return [...offences, ...presence()];
}

function hasHeard(
  told: readonly { readonly kind: string }[],
  words: readonly Publishing[] | undefined,
): boolean {
  const messages = new Set(words?.map(({ message }) => message));
  return told.some((one) => "message" in one && messages.has(String(one.message)));
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
export function tellTopics({ seed, seconds }: TopicsPlan, { figures, offences }: TopicsReport): string[] {
  const lines = offenceLines(offences);
  for (const line of [...figures, `${offences.length} violations`, ...lines]) console.log(`topics: ${line}`);
  if (lines.length > 0) console.log(`topics: replay with: bun run topics ${seed} --minutes ${seconds / 60}`);
  return lines;
}
