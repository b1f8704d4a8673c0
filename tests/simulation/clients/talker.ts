import type { SeededRandom } from "../../support/seeded-random.ts";
import type { ConnectionEnd, Place } from "../world/connection.ts";
import type { World } from "../world/world.ts";

/** Between two messages, on average. */
const pauseMs = 300;
/** A socket of which nothing is heard for this long is left, and another opened. Longer than links take to come back. */
const patienceMs = 45_000;
/** At the end all that was said has come back within this time: as long as an edge keeps sockets whose owner is lost (E15). */
export const echoLimitMs = 45_000;

export interface TalkerSetup {
  readonly world: World;
  readonly random: SeededRandom;
  readonly place: Place;
  readonly object: string;
  /** Its class hears again what a lost owner had not handled: then nothing is lost, and some of it comes back twice. */
  readonly isRedelivered: boolean;
}

/** One socket: what was said on it, counted from 1, and the last that came back. */
interface Conversation {
  readonly end: ConnectionEnd;
  readonly host: string;
  said: number;
  echoed: number;
  heardAtMs: number;
}

/**
 * A client of an author's own WebSocket, which says back what it hears. While its connection lives each message comes back once, in
 * order; where nothing happened by which one may be lost, every one of them does. Of a class that asks for redelivery every one does
 * whatever happened, and may come back again.
 */
export class Talker {
  readonly #setup: TalkerSetup;
  #now: Conversation | undefined;
  #isStopped = false;
  echoed = 0;

  constructor(setup: TalkerSetup) {
    this.#setup = setup;
  }

  start(): void {
    this.#connectLater();
    this.#sayLater();
  }
  stop(): void {
    this.#isStopped = true;
  }

  /** Whether nothing that it said, where its socket still lives, is still to come back; as far as it must. */
  get isSettled(): boolean {
    const now = this.#now;
    // Its host went with its machine, and nobody has told it.
    const isDead = now?.end.other?.isOpen === false;
    return now === undefined || isDead || this.#mayLose || now.echoed === now.said;
  }

  get #mayLose(): boolean {
    return this.#setup.world.mayLoseMessages && !this.#setup.isRedelivered;
  }

  /** At the end, when all has had the time to come back. */
  judge(): void {
    const now = this.#now;
    if (now !== undefined && !this.isSettled)
      this.#wrong(`said ${now.said} messages at ${now.host}, of which ${now.echoed} came back`);
  }

  #later(delayMs: number, run: () => void): void {
    const { world, place } = this.#setup;
    world.scheduler.after(delayMs, place.process, run);
  }

  #connectLater(): void {
    this.#later(1_000 * this.#setup.random.next(), () => {
      if (!this.#isStopped) this.#connect();
    });
  }

  #connect(): void {
    const { world, random, place, object } = this.#setup;
    const host = random.pick([...world.hosts.keys()]);
    let isSettled = false;
    const again = () => {
      if (isSettled) return;
      isSettled = true;
      this.#connectLater();
    };
    const headers = { upgrade: "websocket", connection: "Upgrade" };
    world.connect(place, host, new Request(`http://${host}/${object}/live`, { headers }), {
      opened: (end) => {
        if (isSettled) return end.close(1000, "");
        isSettled = true;
        this.#opened(end, host);
      },
      answered: again,
      failed: again,
    });
    this.#later(8_000, again);
  }

  #opened(end: ConnectionEnd, host: string): void {
    const { scheduler } = this.#setup.world;
    const now: Conversation = { end, host, said: 0, echoed: 0, heardAtMs: scheduler.nowMs };
    this.#now = now;
    end.listen({
      message: (message) => this.#heard(now, String(message)),
      closed: () => this.#over(now),
    });
  }

  #over(conversation: Conversation): void {
    if (this.#now !== conversation) return;
    this.#now = undefined;
    this.#connectLater();
  }

  #heard(now: Conversation, text: string): void {
    const { world, place, isRedelivered } = this.#setup;
    const number = Number(text);
    if (world.isTold) world.journal(`${place.name} hears ${text}`);
    now.heardAtMs = world.scheduler.nowMs;
    this.echoed += 1;
    if (number <= now.echoed && !isRedelivered)
      this.#wrong(`heard ${number} after ${now.echoed} at ${now.host}`);
    if (!this.#mayLose && number > now.echoed + 1)
      this.#wrong(`heard ${number} right after ${now.echoed} at ${now.host}`);
    now.echoed = Math.max(now.echoed, number);
  }

  #sayLater(): void {
    this.#later(2 * pauseMs * this.#setup.random.next(), () => {
      if (this.#isStopped) return;
      this.#say();
      this.#sayLater();
    });
  }

  #say(): void {
    const now = this.#now;
    if (now === undefined) return;
    const { nowMs } = this.#setup.world.scheduler;
    if (now.said > now.echoed && nowMs - now.heardAtMs > patienceMs) {
      now.end.close(1000, "");
      return this.#over(now);
    }
    now.said += 1;
    now.end.send(String(now.said));
  }

  #wrong(what: string): void {
    const { world, place } = this.#setup;
    if (!world.settings.beyondBounds) world.violation("sockets", `${place.name} ${what}`);
  }
}
