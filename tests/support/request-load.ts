import { until } from "./wait.ts";

/** Callers who ask again as soon as they are answered. Whatever is not answered well is kept as a failure. */
export class RequestLoad {
  readonly failures: string[] = [];
  answered = 0;
  #isStopped = false;
  readonly #callers: Promise<void>[] = [];

  /** One caller for each URL. */
  static start(urls: readonly string[], init: RequestInit): RequestLoad {
    const load = new RequestLoad();
    for (const url of urls) load.add([url], init);
    return load;
  }

  /** One caller, who asks all of them in turn. */
  add(urls: readonly string[], init: RequestInit): void {
    this.#callers.push(this.#call(urls, init));
  }

  /** Resolves after so many more answers. */
  async goesOn(answers: number, limitMs = 15_000): Promise<void> {
    const enough = this.answered + answers;
    await until(`${answers} more answers`, () => this.answered >= enough, limitMs);
  }

  /** Resolves when the last answer is there. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#callers);
  }

  async #call(urls: readonly string[], init: RequestInit): Promise<void> {
    for (let n = 0; !this.#isStopped; n++) {
      const url = urls[n % urls.length] ?? "";
      try {
        const answer = await fetch(url, init);
        const text = await answer.text();
        if (answer.ok) this.answered++;
        else this.failures.push(`${answer.status} ${text}`);
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }
}
