import type { Offence } from "../continuity/offence.ts";
import { Audience } from "../continuity/topics/audience.ts";
import { checkListeners, type TopicTotals } from "../continuity/topics/listeners-check.ts";
import { Publisher } from "../continuity/topics/publisher.ts";
import { settle } from "../continuity/topics/settling.ts";
import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { Caller } from "./caller.ts";
import type { Journal } from "./journal.ts";
import type { Call } from "./operations.ts";

export interface ParticipantsSetup {
  readonly hosts: readonly HostProcess[];
  readonly random: SeededRandom;
  /** Keys of the objects that are called. */
  readonly called: readonly string[];
  /** Keys of the objects to whose topics somebody listens. */
  readonly boards: readonly string[];
  readonly told: (call: Call) => void;
}

const audience = { framed: 3, events: 4, raw: 3 } as const;
const publishers = 2;
const callEveryMs = 110;
const publishEveryMs = 150;

/** All clients of a run: each object is called through every edge, and topics are listened to and talked at. */
export class Participants {
  /** Since the start, with those that still ran when it was asked to stop. */
  readonly calls: Call[] = [];
  readonly #setup: ParticipantsSetup;
  readonly #callers: readonly Caller[];
  readonly #crowd: Audience;
  readonly #speakers: readonly Publisher[];
  readonly #last: Publisher;

  constructor(setup: ParticipantsSetup) {
    this.#setup = setup;
    const { hosts, random, called, boards } = setup;
    this.#callers = called.flatMap((object) =>
      hosts.map((host, edge) => this.#caller(object, edge, host, random.fork())),
    );
    const addresses = boards.flatMap((board) =>
      ["news", "wall"].map((topic) => `${board}/-/topics/${topic}`),
    );
    const isAnybodyThere = boards.length > 0;
    const crowd = isAnybodyThere ? audience : { framed: 0, events: 0, raw: 0 };
    const speaker = (name: string) =>
      new Publisher({ name, hosts, addresses, random: random.fork(), everyMs: publishEveryMs });
    this.#crowd = new Audience({ hosts, addresses, random: random.fork(), ...crowd });
    this.#speakers = Array.from({ length: isAnybodyThere ? publishers : 0 }, (_, n) => speaker(`http${n}`));
    this.#last = speaker("last");
  }

  /** Messages that listeners have heard so far. */
  get heard(): number {
    return this.#crowd.notes.reduce((sum, { told }) => sum + told.length, 0);
  }

  /** Calls that are not answered yet. */
  get open(): readonly Call[] {
    return this.#callers.flatMap(({ open }) => open);
  }

  start(): void {
    for (const one of [...this.#callers, ...this.#speakers]) one.start();
    this.#crowd.start();
  }

  /** They call and publish no more; resolves when the last of it has ended. */
  async silence(): Promise<void> {
    await Promise.all([this.#crowd.silence(), ...this.#speakers.map((speaker) => speaker.stop())]);
    await Promise.all(this.#callers.map((caller) => caller.stop()));
  }

  async stop(): Promise<void> {
    await this.silence();
    await this.#crowd.stop();
  }

  /** Waits until all listeners are back and have heard everything, and compares what they heard. */
  async compareTopics(
    journal: Journal,
  ): Promise<{ offences: readonly Offence[]; totals: TopicTotals | undefined }> {
    const { boards, random } = this.#setup;
    if (boards.length === 0) return { offences: [], totals: undefined };
    const unsettled = await settle(this.#crowd, this.#last, random);
    const spoken = [...this.#speakers, this.#last].flatMap(({ publishings }) => publishings);
    // What is in memory may be lost whenever something goes on. What is stored may not.
    const forgetful = boards.filter((board) => !board.startsWith("board-durable/"));
    const { offences, totals } = checkListeners(this.#crowd.notes, [...this.#crowd.publishings, ...spoken], {
      losses: journal.upheavalsAtMs.flatMap((atMs) => forgetful.map((object) => ({ object, atMs }))),
      edgesGone: new Set(),
      cutsAtMs: journal.upheavalsAtMs,
    });
    return { offences: [...unsettled, ...offences], totals };
  }

  #caller(object: string, edge: number, host: HostProcess, random: SeededRandom): Caller {
    const told = (call: Call) => {
      this.calls.push(call);
      this.#setup.told(call);
    };
    const isCopy = object.startsWith("copy/");
    return new Caller({ object, edge, host, random, everyMs: callEveryMs, isCopy, told });
  }
}
