import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Place, Stop, Ways } from "./ways.ts";

/** What a host's dial switch reads: ports of hosts, as it dials them. */
export interface SwitchSetting {
  /** What goes to them is lost. */
  readonly to: readonly number[];
  /** What comes from them is lost. */
  readonly from: readonly number[];
}

/** The variable that tells a host where its setting is. */
export const switchFileVariable = "CONTINUITY_SWITCH_FILE";
/** A host's switch looks at its file so often. */
export const switchPollMs = 10;

/** Every host with a switch in its dialling (`dial-switch.ts`), which reads from a file what is cut. */
export class SwitchWays implements Ways {
  readonly kind = "switch";
  readonly primaryAddress = "127.0.0.1";
  readonly #folder: string;
  readonly #cuts = new Map<string, readonly [from: Stop, to: Stop]>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<SwitchWays> {
    return new SwitchWays(await mkdtemp(join(tmpdir(), "ways-")));
  }

  async place(index: number): Promise<Place> {
    const env = { [switchFileVariable]: this.#fileOf(index) };
    await this.#write(index);
    return {
      address: this.primaryAddress,
      runner: [],
      preload: join(import.meta.dir, "dial-switch.ts"),
      env,
    };
  }

  /** Both ends are told: which of them has dialled the other, and so has the switch, is theirs to know. */
  async set(from: Stop, to: Stop, isCut: boolean): Promise<void> {
    const key = `${from.index} ${to.index}`;
    if (isCut) this.#cuts.set(key, [from, to]);
    else this.#cuts.delete(key);
    await Promise.all([this.#write(from.index), this.#write(to.index)]);
    await Bun.sleep(switchPollMs * 3); // what the switches need to look
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #write(index: number): Promise<void> {
    const cuts = [...this.#cuts.values()];
    const setting: SwitchSetting = {
      to: cuts.flatMap(([from, to]) => (from.index === index ? [to.port] : [])),
      from: cuts.flatMap(([from, to]) => (to.index === index ? [from.port] : [])),
    };
    const file = this.#fileOf(index);
    // In one step: a switch never reads half a file.
    await writeFile(`${file}.new`, JSON.stringify(setting));
    await rename(`${file}.new`, file);
  }

  #fileOf(index: number): string {
    return join(this.#folder, `host${index}.json`);
  }
}
