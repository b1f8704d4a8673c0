import type { SeededRandom } from "../../support/seeded-random.ts";
import type { AlarmCheck } from "../checks/alarm-check.ts";
import type { Place } from "../world/connection.ts";
import type { World } from "../world/world.ts";
import { Asker } from "./asker.ts";
import { isRefusal } from "./caller.ts";

const pauseMaxMs = 1_600;
const delayMs = { min: 200, max: 9_000 };
const readPauseMs = 400;

export interface AlarmSetterSetup {
  readonly world: World;
  readonly random: SeededRandom;
  readonly place: Place;
  readonly objects: readonly string[];
  readonly check: AlarmCheck;
}

/** A client that has objects set alarms, each under a name of its own, and reads in the end which have rung. */
export class AlarmSetter {
  readonly #setup: AlarmSetterSetup;
  readonly #asker: Asker;
  #count = 0;
  #isStopped = false;

  constructor(setup: AlarmSetterSetup) {
    this.#setup = setup;
    this.#asker = new Asker(setup);
  }

  start(): void {
    this.#later();
  }
  stop(): void {
    this.#isStopped = true;
  }
  /** Whether it waits for nothing. */
  get isIdle(): boolean {
    return this.#asker.isIdle;
  }

  #later(): void {
    const { world, random, place } = this.#setup;
    world.scheduler.after(pauseMaxMs * random.next(), place.process, () => {
      if (this.#isStopped) return;
      this.#set();
      this.#later();
    });
  }

  #set(): void {
    const { world, random, objects, check, place } = this.#setup;
    this.#count += 1;
    const [key, name] = [random.pick(objects), `${place.name}.${this.#count}`];
    const body = JSON.stringify({ name, afterMs: random.between(delayMs.min, delayMs.max) });
    const headers = { "content-type": "application/json", "content-length": String(body.length) };
    const host = random.pick([...world.hosts.keys()]);
    const request = new Request(`http://${host}/${key}/set`, { method: "POST", headers, body });
    this.#ask(host, request, (status, answer) => {
      if (world.isTold) world.journal(`${key} at ${host}: set ${body} → ${status} ${JSON.stringify(answer)}`);
      if (status === 200) check.acknowledged(key, name);
      else if (isRefusal(answer)) check.refused(key, name);
    });
  }

  /** Asks again and again, until the object has said which of its alarms have rung, and that is as it should be or the time is over. */
  read(key: string, isEnough: () => boolean): void {
    const { world, place, check } = this.#setup;
    const [host = ""] = world.hosts.keys();
    this.#ask(host, new Request(`http://${host}/${key}`), (status, answer) => {
      if (status === 200) check.stored(key, (answer as { rung: Record<string, number> }).rung); // by our own class
      if (!isEnough()) world.scheduler.after(readPauseMs, place.process, () => this.read(key, isEnough));
    });
  }

  #ask(host: string, request: Request, told: (status: number, answer: unknown) => void): void {
    this.#asker.ask(host, request, (status, answer) => {
      this.#setup.world.scheduler.note(`${request.url} ${status}`);
      told(status, answer);
    });
  }
}
