import type { MessageIterator } from "../../apps/client/iteration.ts";
import type { Gap, SubscribeOptions, Subscription } from "../../apps/client/subscription.ts";
import type { Topic } from "../../apps/client/topic.ts";

export interface Numbered {
  readonly n: number;
}

export interface CheckedSetup {
  readonly name: string;
  readonly topic: Topic<Numbered>;
  readonly options: SubscribeOptions;
  /** Number that `since` names; undefined where that is not known. */
  readonly start: number | undefined;
  /** What goes wrong is written here. */
  readonly offences: string[];
}

/**
 * What a listener has a right to: the numbers of its topic one after the other, each once, from its start to its end, and a word
 * in every place where one is missing. Every message is checked as it comes.
 */
abstract class Checked {
  readonly name: string;
  readonly #offences: string[];
  /** What must come next; undefined where anything may. */
  #next: number | undefined;
  #last: number;
  #wasTold = false;
  #skipped = 0;
  /** For the report. */
  readonly #story: string[] = [];
  gaps = 0;
  isActive = true;

  constructor({ name, start, offences }: CheckedSetup) {
    this.name = name;
    this.#offences = offences;
    this.#next = start === undefined ? undefined : start + 1;
    this.#last = start ?? 0;
  }

  get last(): number {
    return this.#last;
  }

  get story(): string {
    return `its story: ${this.#story.slice(-30).join(", ")}`;
  }

  protected note(what: string): void {
    this.#story.push(what);
  }

  protected toldOf(gap: Gap): void {
    this.note(gap.reason === "lost" ? "gap" : `${gap.reason} ${gap.count}`);
    if (gap.reason === "skipped") this.#skipped += gap.count;
    else this.#wasTold = true;
    if (gap.reason === "lost") this.gaps += 1;
  }

  protected over(how: string): void {
    this.isActive = false;
    this.note(how);
  }

  protected hears(n: number): void {
    this.note(String(n));
    if (!this.isActive) this.#offend(`hears ${n} after its end`);
    if (n <= this.#last) this.#offend(`hears ${n} after ${this.#last}`);
    // A message may be skipped twice: again after a reconnect.
    const latest = (this.#next ?? n) + this.#skipped;
    const isNext = this.#next === undefined || this.#wasTold || n <= latest;
    if (!isNext) this.#offend(`hears ${n} where ${this.#next} must come, and was told nothing`);
    this.#last = n;
    this.#next = n + 1;
    this.#wasTold = false;
    this.#skipped = 0;
  }

  #offend(what: string): void {
    this.#offences.push(`${this.name} ${what}; ${this.story}`);
  }

  abstract get position(): string | undefined;
  abstract stop(): void;
  /** Takes what there is, where that is not told. */
  abstract pull(): void;
}

export type { Checked };

export class CheckedListener extends Checked {
  readonly #subscription: Subscription;

  constructor(setup: CheckedSetup) {
    super(setup);
    this.#subscription = setup.topic.subscribe(({ n }) => this.hears(n), setup.options);
    this.#subscription.on("subscribed", ({ position, recovered }) =>
      this.note(`subscribed ${position} ${recovered}`),
    );
    this.#subscription.on("gap", (gap) => this.toldOf(gap));
    this.#subscription.on("skipped", ({ count }) => this.toldOf({ reason: "skipped", count }));
    this.#subscription.on("ended", ({ code }) => this.over(`ended ${code}`));
    this.#subscription.on("refused", ({ status }) => this.over(`refused ${status}`));
  }

  get position(): string | undefined {
    return this.#subscription.position;
  }

  stop(): void {
    this.#subscription();
    this.over("stopped");
  }

  pull(): void {
    // It is told.
  }
}

/** A loop with a small buffer, whose pace is the test's. */
export class CheckedLoop extends Checked {
  readonly #messages: MessageIterator<Numbered>;
  #isAsking = false;

  constructor(setup: CheckedSetup) {
    super(setup);
    const { since, query } = setup.options;
    const onGap = (gap: Gap) => this.toldOf(gap);
    this.#messages = setup.topic.messages({ since, query, bufferMax: 5, onGap });
  }

  get position(): string | undefined {
    return this.#messages.position;
  }

  stop(): void {
    void this.#messages.return();
    this.over("left");
  }

  pull(): void {
    if (this.#isAsking || !this.isActive) return;
    this.#isAsking = true;
    this.#messages.next().then(
      ({ done, value }) => {
        this.#isAsking = false;
        if (!this.isActive) return; // it was left while it waited
        if (done) this.over("done");
        else this.hears(value.n);
      },
      (error) => this.over(String(error)),
    );
  }
}
