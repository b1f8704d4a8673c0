import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type { Commit, CommitAnswer } from "../../infra/lease/directory.ts";
import type {
  LoadedObject,
  ObjectWrites,
  StoredAlarm,
  StoredMessage,
} from "../../infra/lease/stored-objects.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { Cluster, type DirectoryRig, type TestHost } from "../contracts/directory-cluster.ts";
import { fileRig, memoryRig, serverRig } from "../contracts/directory-rigs.ts";

/**
 * Random commits to two directories at once, one of them the maps of `MemoryDirectory`: both must answer the same, and have
 * the same stored at the end. Epochs differ between them, so commands say "the epoch it has" or "the one it had before".
 */
const objects = ["a", "a/b", "ä%"].map((id) => objectRef("room", id));
const keys = ["", "a", "b", "b\u0001", "é", "\uffff", "\u{10000}", "%_'\"\\"];
const names = ["x", "y"];
const topics = ["news", "a/b", "é"];
const runs = 40;

type Command =
  | { readonly kind: "commit"; readonly hostIndex: number; readonly parts: RandomCommit }
  | { readonly kind: "again"; readonly hostIndex: number };

interface RandomCommit {
  readonly acquire: readonly { object: number; load: boolean }[];
  readonly release: readonly RandomLease[];
  readonly move: readonly (RandomLease & { readonly to: number })[];
  readonly writes: readonly (RandomLease & RandomWrites)[];
}

interface RandomLease {
  readonly object: number;
  readonly isStale: boolean;
}

interface RandomWrites {
  readonly clears: boolean;
  readonly values: readonly (readonly [number, Uint8Array | null])[];
  readonly alarms: readonly (readonly [number, StoredAlarm | null])[];
  readonly messages: readonly { topic: number; keepFrom: number; puts: readonly StoredMessage[] }[];
}

const object = fc.nat(objects.length - 1);
const lease = { object, isStale: fc.boolean().filter(Boolean) };
const staleOrNot = fc.oneof(
  { weight: 6, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: lease.isStale },
);
const bytes = fc.uint8Array({ maxLength: 40 });
const alarm = fc.record({
  dueAtMs: fc.integer({ min: 1, max: 2 ** 42 }),
  attempt: fc.nat(9),
  schedule: fc.constantFrom("", '{"cron":"* * * * *"}', "'"),
  payload: bytes,
  parked: fc.boolean(),
  lastError: fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", "")),
});
const message = fc.record({
  place: fc.nat(8),
  history: fc.constantFrom("h1", "h2"),
  form: fc.constantFrom("", "text", "bytes", "json"),
  publishedAtMs: fc.integer({ min: 1, max: 2 ** 42 }),
  value: bytes,
});
const writes = fc.record({
  object,
  isStale: staleOrNot,
  clears: fc.boolean(),
  values: fc.array(fc.tuple(fc.nat(keys.length - 1), fc.option(bytes)), { maxLength: 6 }),
  alarms: fc.array(fc.tuple(fc.nat(names.length - 1), fc.option(alarm)), { maxLength: 2 }),
  messages: fc.uniqueArray(
    fc.record({
      topic: fc.nat(topics.length - 1),
      keepFrom: fc.oneof(fc.constant(0), fc.nat(8)),
      puts: fc.uniqueArray(message, { selector: ({ place }) => place, maxLength: 4 }),
    }),
    { selector: ({ topic }) => topic, maxLength: topics.length },
  ),
});
const once = { selector: (item: { readonly object: number }) => item.object, maxLength: objects.length };
const parts = fc.record({
  acquire: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.record({ object, load: fc.boolean() }), once) },
  ),
  release: fc.oneof(
    { weight: 5, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.record({ object, isStale: staleOrNot }), once) },
  ),
  move: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.record({ object, isStale: staleOrNot, to: fc.nat(2) }), once) },
  ),
  writes: fc.uniqueArray(writes, once),
});
const hostIndex = fc.nat(1);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("commit" as const), hostIndex, parts }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("again" as const), hostIndex }) },
);
const commands = fc.array(command, { minLength: 10, maxLength: 40 });

const rigs: Record<string, () => Promise<DirectoryRig>> = {
  file: fileRig,
  "sqld over http": () => serverRig((sqld) => sqld.httpUrl),
};
for (const [name, start] of Object.entries(rigs)) {
  let rigs: readonly [DirectoryRig, DirectoryRig];
  beforeAll(async () => {
    rigs = [await memoryRig(), await start()];
  }, 30_000);
  afterAll(() => Promise.all((rigs ?? []).map((rig) => rig.stop())));

  const seed = Number(process.env.STORAGE_SEED ?? Math.floor(Math.random() * 2 ** 31));
  test(`L4 L6 L7 ${name} and memory answer the same to random commits (STORAGE_SEED=${seed})`, async () => {
    const property = fc.asyncProperty(commands, async (list) => {
      const pair: Side[] = [];
      try {
        for (const rig of rigs) pair.push(await Side.open(rig));
        for (const next of list) expectSame(await each(pair, (side) => side.run(next)));
        expectSame(await each(pair, (side) => side.stored()));
      } finally {
        await each(pair, (side) => side.close());
      }
    });
    // A machine that is slow to sync its disk makes fewer runs, instead of none that counts.
    const limits = { interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false };
    await fc.assert(property, { seed, numRuns: runs, ...limits });
  }, 120_000);
}

/** One of the two directories, with two hosts and what they know of epochs. */
class Side {
  readonly #cluster: Cluster;
  readonly #hosts: readonly TestHost[];
  readonly #epochs = new Map<string, number>();
  readonly #staleEpochs = new Map<string, number>();
  readonly #last = new Map<number, Commit>();

  private constructor(cluster: Cluster, hosts: readonly TestHost[]) {
    this.#cluster = cluster;
    this.#hosts = hosts;
  }

  static async open(rig: DirectoryRig): Promise<Side> {
    await rig.reset();
    const cluster = new Cluster(rig);
    return new Side(cluster, [await cluster.host(), await cluster.host()]);
  }

  async run(next: Command): Promise<unknown> {
    const host = this.#hosts[next.hostIndex];
    if (host === undefined) throw new Error("there is no such host");
    if (next.kind === "again") {
      const last = this.#last.get(next.hostIndex);
      return last && this.#comparable(await host.directory.commit(last));
    }
    const commit = host.next(this.#partsOf(next.parts));
    this.#last.set(next.hostIndex, commit);
    const answer = await host.send(commit);
    if (answer.outcome !== "session_over") {
      for (const [key, { epoch }] of answer.leases) {
        const known = this.#epochs.get(key);
        if (known !== undefined && known !== epoch) this.#staleEpochs.set(key, known);
        this.#epochs.set(key, epoch);
      }
    }
    return this.#comparable(answer);
  }

  /** All that can be read, in every way. */
  async stored(): Promise<unknown> {
    const directory = this.#hosts[0]?.directory;
    if (directory === undefined) throw new Error("there is no host");
    const found: unknown[] = [await directory.alarms(100), await directory.dueAlarms(100, 60_000)];
    for (const object of objects) {
      for (const reverse of [false, true]) {
        const all = { object, start: "", end: undefined, reverse, limit: 100 };
        found.push(
          await directory.list(all),
          await directory.list({ ...all, start: "b", end: "\uffff", limit: 2 }),
        );
      }
      found.push(
        await directory.read(keys.map((key) => ({ object, key }))),
        await directory.alarms(2, object),
        await directory.messages(object),
        await directory.messages(object, { topic: "news", place: 3 }),
      );
    }
    return found;
  }

  close(): Promise<void> {
    return this.#cluster.close();
  }

  #partsOf({ acquire, release, move, writes }: RandomCommit): Partial<Commit> {
    return {
      acquire: acquire.map((item) => ({ object: at(item.object), when: "free", load: item.load })),
      release: release.map((item) => this.#lease(item)),
      // There are two hosts; the third target is nobody.
      move: move.map((item) => ({
        ...this.#lease(item),
        toSession: this.#hosts[item.to]?.session ?? "nobody",
      })),
      writes: writes.map((item) => ({ ...this.#lease(item), ...changesOf(item) })),
    };
  }

  #lease({ object, isStale }: RandomLease): { object: ObjectRef; epoch: number } {
    const ref = at(object);
    return { object: ref, epoch: (isStale ? this.#staleEpochs : this.#epochs).get(ref.key) ?? 1 };
  }

  /** Without what differs from directory to directory: times, epochs and the names of sessions. */
  #comparable(answer: CommitAnswer): unknown {
    if (answer.outcome === "session_over") return answer;
    const hostOf = (session: string) => session && this.#hosts.findIndex((host) => host.session === session);
    const owners = Array.from(answer.leases, ([key, { session, alive, former }]) => {
      return [key, hostOf(session), alive, hostOf(former)] as const;
    });
    const loaded = Array.from(answer.loaded, ([key, load]) => [key, plain(load)] as const);
    const present = loaded.filter(([, { values, alarms }]) => values.length + alarms.length > 0);
    const refused = [...answer.refused].toSorted();
    return { outcome: answer.outcome, owners: byName(owners), loaded: byName(present), refused };
  }
}

function plain({ values, isComplete, alarms }: LoadedObject) {
  return { values: [...values], isComplete, alarms: byName([...alarms]) };
}

function byName<Row extends readonly [name: string, ...unknown[]]>(rows: readonly Row[]): readonly Row[] {
  return rows.toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function changesOf({
  clears,
  values,
  alarms,
  messages,
}: RandomWrites): Omit<ObjectWrites, "object" | "epoch"> {
  return {
    clears,
    values: new Map(values.map(([key, value]) => [keys[key] ?? "", value])),
    alarms: new Map(alarms.map(([name, alarm]) => [names[name] ?? "", alarm])),
    messages: new Map(messages.map(({ topic, ...changes }) => [topics[topic] ?? "", changes])),
  };
}

function at(index: number): ObjectRef {
  const found = objects[index];
  if (found === undefined) throw new Error(`there is no object ${index}`);
  return found;
}

function each<T>(sides: readonly Side[], ask: (side: Side) => Promise<T>): Promise<T[]> {
  return Promise.all(sides.map(ask));
}

function expectSame([expected, actual]: readonly unknown[]): void {
  expect(actual).toEqual(expected);
}
