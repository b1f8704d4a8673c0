import type { StoreHost } from "../../infra/host/activation-store.ts";
import {
  listRows,
  loadRows,
  messageRows,
  noStoredRows,
  readRows,
  writeRows,
} from "../../infra/lease/memory-stored-objects.ts";
import type {
  LoadedObject,
  MessagePlace,
  ObjectWrites,
  StoredKey,
  StoredRange,
} from "../../infra/lease/stored-objects.ts";
import type { WriteSource } from "../../infra/lease/write-queue.ts";
import type { ObjectRef } from "../../infra/lib/object-ref.ts";
import { StoredReader } from "../../infra/storage/stored-reader.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";

/** The storage of one host without a directory: commits happen a turn after they are asked for, or when a test lets them. */
export class FakeStores implements StoreHost {
  /** Two hosts of one directory share them. */
  rows = noStoredRows();
  readonly reader: StoredReader;
  /** What was written, commit by commit. */
  readonly commits: ObjectWrites[] = [];
  /** Loses the next commits on their way: they never happen, and are never answered. */
  losesCommits = false;
  /** What the next commits wait for before they are answered; they have happened by then. */
  held: Promise<void> | undefined;
  /** What reads wait for. */
  readHeld: Promise<void> | undefined;
  reads = 0;
  /** The same of messages. */
  messageReads = 0;
  /** Objects whose writes are refused. */
  readonly fenced = new Set<string>();
  /** The session under which this host writes. */
  session = "session-1";
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.reader = new StoredReader(
      {
        read: async (keys: readonly StoredKey[]) => {
          this.reads += 1;
          await this.readHeld;
          return readRows(this.rows, keys);
        },
        messages: async (object: ObjectRef, after?: MessagePlace) => {
          this.messageReads += 1;
          await this.readHeld;
          return messageRows(this.rows, object, after);
        },
        alarmsOf: async (object: ObjectRef) => new Map(this.rows.alarms.get(object.key)),
        list: async (range: StoredRange) => {
          this.reads += 1;
          await this.readHeld;
          return listRows(this.rows, range);
        },
      },
      clock,
    );
  }

  readonly send = (source: WriteSource): void => {
    queueMicrotask(() => void this.#commit(source));
  };
  readonly nowMs = (): number => this.#clock.wallMs();
  readonly random = (): number => 0.5;
  readonly waiting = { bytes: 0 };

  load(object: ObjectRef): LoadedObject {
    return loadRows(this.rows, object, { bytes: Number.POSITIVE_INFINITY });
  }

  async #commit(source: WriteSource): Promise<void> {
    const writes = source.take(this.session);
    if (writes === undefined || this.losesCommits) return;
    this.commits.push(writes);
    const isFenced = this.fenced.has(writes.object.key);
    if (!isFenced) writeRows(this.rows, writes);
    await this.held;
    if (isFenced) return source.fenced();
    source.committed();
    source.told();
  }
}
