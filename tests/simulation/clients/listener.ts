import type { SeededRandom } from "../../support/seeded-random.ts";
import { PresenceCheck, type PresenceFrame } from "../checks/presence-check.ts";
import type { ListenerCheck, TopicCheck } from "../checks/topic-check.ts";
import type { ConnectionEnd, Payload, Place } from "../world/connection.ts";
import type { World } from "../world/world.ts";

/** Between two looks at whether anything was heard. As the protocol asks: it pings, and then comes again. */
const pulseMs = 4_000;
const topic = "entries";

interface Frame extends PresenceFrame {
  readonly type: string;
  readonly id?: number;
  readonly object?: string;
  readonly position?: string;
  readonly recovered?: boolean;
  readonly data?: unknown;
  readonly text?: string;
}

export interface ListenerSetup {
  readonly world: World;
  readonly random: SeededRandom;
  readonly place: Place;
  readonly objects: readonly string[];
  /** Those of whose topic it wants to know who else listens. */
  readonly present: readonly string[];
  readonly check: TopicCheck;
}

/** A client that listens to topics on one connection, and goes on at another host when that ends. */
export class Listener {
  readonly #setup: ListenerSetup;
  readonly checks: ReadonlyMap<string, ListenerCheck>;
  /** Of those topics that have it. */
  readonly #presence: ReadonlyMap<string, PresenceCheck>;
  #end: ConnectionEnd | undefined;
  #lastHeardMs = 0;
  /** By the id of its subscription on this connection. */
  #subscribed = new Map<number, string>();
  #ids = 0;

  constructor(setup: ListenerSetup) {
    const { objects, place, check, present } = setup;
    this.#setup = setup;
    this.checks = new Map(objects.map((key) => [key, check.listener(place.name, key)]));
    const wrong = (key: string) => (what: string) => this.#presenceIsWrong(`${place.name} of ${key} ${what}`);
    this.#presence = new Map(present.map((key) => [key, new PresenceCheck(wrong(key))]));
  }

  /** Who is there, as it was told; undefined where it was told nothing on its connection. */
  members(key: string): readonly string[] | undefined {
    return this.#end && this.#presence.get(key)?.members;
  }

  #presenceIsWrong(what: string): void {
    const { world } = this.#setup;
    if (!world.settings.beyondBounds) world.violation("presence", what);
  }

  start(): void {
    this.#connectLater(500);
    this.#pulseLater();
  }

  #later(delayMs: number, run: () => void): void {
    const { world, place } = this.#setup;
    world.scheduler.after(delayMs, place.process, run);
  }

  #connectLater(delayMaxMs: number): void {
    const { random } = this.#setup;
    this.#later(delayMaxMs * random.next(), () => this.#connect());
  }

  #connect(): void {
    const { world, random, place } = this.#setup;
    const host = random.pick([...world.hosts.keys()]);
    const headers = { upgrade: "websocket", connection: "Upgrade" };
    let isSettled = false;
    const again = () => {
      if (isSettled) return;
      isSettled = true;
      this.#connectLater(1_000);
    };
    world.connect(place, host, new Request(`http://${host}/-/connect`, { headers }), {
      opened: (end) => {
        if (isSettled) return end.close(1000, "");
        isSettled = true;
        this.#opened(end);
      },
      answered: again,
      failed: again,
    });
    this.#later(4_000, again);
  }

  #opened(end: ConnectionEnd): void {
    this.#end = end;
    this.#lastHeardMs = this.#setup.world.scheduler.nowMs;
    this.#subscribed = new Map();
    end.listen({
      message: (message) => this.#heard(end, message),
      closed: () => this.#over(end),
    });
    for (const key of this.checks.keys()) this.#subscribe(end, key);
  }

  #over(end: ConnectionEnd): void {
    if (this.#end !== end) return;
    this.#end = undefined;
    this.#connectLater(1_000);
  }

  #subscribe(end: ConnectionEnd, key: string): void {
    this.#ids += 1;
    this.#subscribed.set(this.#ids, key);
    const since = this.checks.get(key)?.since;
    const presence = this.#presence.get(key);
    presence?.subscribing();
    const asked = { type: "subscribe", id: this.#ids, object: key, topic, since };
    end.send(JSON.stringify({ ...asked, ...(presence && { presence: true }) }));
  }

  #heard(end: ConnectionEnd, message: Payload): void {
    if (this.#end !== end) return;
    const { world, place, random } = this.#setup;
    this.#lastHeardMs = world.scheduler.nowMs;
    const frame = JSON.parse(String(message)) as Frame; // what a host says, as the protocol has it
    if (world.isTold) world.journal(`${place.name} hears ${String(message).slice(0, 200)}`);
    const key = frame.object ?? this.#subscribed.get(frame.id ?? 0);
    const check = key === undefined ? undefined : this.checks.get(key);
    if (key === undefined || check === undefined) return;
    if (frame.type === "subscribed") check.subscribed(frame.position, frame.recovered);
    else if (frame.type === "presence") this.#presence.get(key)?.told(frame);
    else if (frame.type === "message") check.message(frame.position, frame.text ?? String(frame.data));
    else if (frame.type === "refused" || frame.type === "unsubscribed") {
      this.#later(200 + 800 * random.next(), () => {
        if (this.#end === end && end.isOpen) this.#subscribe(end, key);
      });
    }
  }

  #pulseLater(): void {
    this.#later(pulseMs, () => {
      const end = this.#end;
      const silentMs = this.#setup.world.scheduler.nowMs - this.#lastHeardMs;
      if (end !== undefined && silentMs > 2 * pulseMs) {
        end.close(1000, "");
        this.#over(end);
      } else if (end !== undefined && silentMs > pulseMs / 2) end.send(JSON.stringify({ type: "ping" }));
      this.#pulseLater();
    });
  }
}
