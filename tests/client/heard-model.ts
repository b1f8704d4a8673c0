import type { SubscribeOptions, Subscription } from "../../apps/client/subscription.ts";
import type { Topic } from "../../apps/client/topic.ts";

export interface Numbered {
  readonly n: number;
}

/**
 * One listener, and what it has a right to: the numbers of its topic one after the other, each once, from its start to its end,
 * and a word in every place where one is missing. Every message is checked as it comes.
 */
export class CheckedListener {
  readonly name: string;
  readonly subscription: Subscription;
  readonly #offences: string[];
  /** What must come next; undefined where anything may. */
  #next: number | undefined;
  #last = 0;
  #wasTold = false;
  #skipped = 0;
  /** For the report. */
  readonly story: string[] = [];
  gaps = 0;
  count = 0;
  isActive = true;

  /** @param start number that `since` names; undefined where it is not known. */
  constructor(
    name: string,
    topic: Topic<Numbered>,
    options: SubscribeOptions,
    start: number | undefined,
    offences: string[],
  ) {
    this.name = name;
    this.#offences = offences;
    this.#next = start === undefined ? undefined : start + 1;
    if (start !== undefined) this.#last = start;
    this.subscription = topic.subscribe(({ n }) => this.#hear(n), options);
    this.subscription.on("subscribed", ({ position, recovered }) =>
      this.story.push(`subscribed ${position} ${recovered}`),
    );
    this.subscription.on("gap", () => {
      this.gaps += 1;
      this.#wasTold = true;
      this.story.push("gap");
    });
    this.subscription.on("skipped", ({ count }) => {
      this.#skipped += count;
      this.story.push(`skipped ${count}`);
    });
    this.subscription.on("ended", ({ code }) => this.#over(`ended ${code}`));
    this.subscription.on("refused", ({ status }) => this.#over(`refused ${status}`));
  }

  get last(): number {
    return this.#last;
  }

  stop(): void {
    this.subscription();
    this.isActive = false;
    this.story.push("stopped");
  }

  #over(how: string): void {
    this.isActive = false;
    this.story.push(how);
  }

  #hear(n: number): void {
    this.story.push(String(n));
    this.count += 1;
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
    this.#offences.push(`${this.name} ${what}; its story: ${this.story.slice(-30).join(", ")}`);
  }
}
