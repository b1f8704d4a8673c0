import { type EventText, eventName, eventText, peerRegion } from "./event-lines.ts";
import type { HostEvent } from "./host-messages.ts";

/**
 * Decides which events of the hosts become a line. Both ends of a link tell of it, and the parts of a host may tell of one
 * thing twice: a change is shown once. A flood (a thousand objects that start together) is counted instead of
 * shown, and the count follows once a second.
 */
export class EventFeed {
  /** Until the cluster runs, and from Ctrl-C on, only what is wrong is worth a line. */
  isQuiet = true;
  readonly #show: (event: EventText) => void;
  /** The last known state of each link and session; bounded by the number of regions. */
  readonly #states = new Map<string, string>();
  /** Lines of the running second, by region and title. */
  readonly #counts = new Map<string, Count>();
  #second: Timer | undefined;

  constructor(show: (event: EventText) => void) {
    this.#show = show;
  }

  hear(region: string, event: HostEvent): void {
    const isNews = this.#changesState(region, event);
    if (!isNews || (this.isQuiet && event.level === "info")) return;
    const text = eventText(region, event);
    if (text !== undefined) this.#showWithinLimit(text);
  }

  /** What the cluster itself has to say. */
  say(text: EventText): void {
    if (!this.isQuiet || text.level !== "info") this.#showWithinLimit(text);
  }

  close(): void {
    clearInterval(this.#second);
    this.#showCounts();
  }

  #changesState(region: string, event: HostEvent): boolean {
    const name = eventName(event);
    const key = stateKey(region, name, event);
    if (key === undefined) return true;
    const state = name.startsWith("session") ? `${name} ${String(event.fields.session)}` : name;
    // A link that nobody has seen open cannot close.
    const before = this.#states.get(key) ?? "link closed";
    this.#states.set(key, state);
    return before !== state;
  }

  #showWithinLimit(text: EventText): void {
    const key = `${text.region} ${text.title}`;
    const count = this.#counts.get(key) ?? { text, shown: 0, hidden: 0 };
    this.#counts.set(key, count);
    this.#second ??= setInterval(() => this.#showCounts(), 1000);
    if (count.shown >= linesPerSecondMax) {
      count.hidden++;
      return;
    }
    count.shown++;
    this.#show(text);
  }

  #showCounts(): void {
    for (const { text, hidden } of this.#counts.values()) {
      const { region, level, title } = text;
      if (hidden > 0 && !(this.isQuiet && level === "info"))
        this.#show({ region, level, title, subject: `… and ${hidden} more` });
    }
    this.#counts.clear();
  }
}

/** Of one kind, from one region. */
export const linesPerSecondMax = 20;

interface Count {
  readonly text: EventText;
  shown: number;
  hidden: number;
}

/** What a link or session event is about; undefined for all other events, which are always news. */
function stateKey(region: string, name: string, event: HostEvent): string | undefined {
  if (name === "session opened" || name === "session over") return `session ${region}`;
  if (name !== "link opened" && name !== "link closed") return undefined;
  return `link ${[region, peerRegion(event.fields)].sort().join(" ")}`;
}
