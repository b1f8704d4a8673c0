import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AcquireItem, CommitEffects } from "../../infra/lease/directory.ts";
import {
  loadLimits,
  type ObjectWrites,
  everyPlace,
  type MessagePlace,
  readBytesMax,
  readMessagesMax,
  recordKey,
  type StoredAlarm,
  type StoredMessage,
  type StoredPage,
  type StoredRange,
  type TopicWrites,
  nothingStored,
} from "../../infra/lease/stored-objects.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { Cluster, type DirectoryRig, newObject, type TestHost, wonBy } from "./directory-cluster.ts";

const mebibyte = 1024 * 1024;

/** What objects store: the part of the port `Directory` that is beside the leases, asked of one implementation. */
export function storageContract(name: string, start: () => Promise<DirectoryRig>): void {
  describe(`storage: ${name}`, () => {
    let rig: DirectoryRig;
    beforeAll(async () => {
      rig = await start();
    }, 30_000);
    afterAll(() => rig?.stop());

    const schedule: Schedule = (title, run) =>
      test(title, async () => {
        await rig.reset();
        const cluster = new Cluster(rig);
        try {
          await run(cluster);
        } finally {
          await cluster.close();
        }
      }, 30_000);

    fencing(schedule);
    numberedWrites(schedule);
    lostMemory(schedule);
    values(schedule);
    keys(schedule);
    changesTogether(schedule);
    pages(schedule);
    loads(schedule);
    budgets(schedule);
    alarmRows(schedule);
    dueAlarms(schedule);
    if (name !== "file") alarmsOfASlowClock(schedule);
    alarmReports(schedule);
    messageRows(schedule);
    messagePages(schedule);
  });
}

type Schedule = (title: string, run: (cluster: Cluster) => Promise<void>) => void;

function fencing(schedule: Schedule): void {
  schedule(
    "L4 a write under another epoch changes nothing, and its neighbours are written",
    async (cluster) => {
      const host = await cluster.host();
      const [stale, ahead, fine, unowned] = [
        await owned(host),
        await owned(host),
        await owned(host),
        newObject(),
      ];
      const put = { values: { key: "new", other: "new" }, alarms: { alarm } };
      const { refused } = await sent(host, {
        writes: [
          writes({ ...stale, epoch: stale.epoch - 1 }, { ...put, clears: true }),
          writes(fine, put),
          writes({ ...ahead, epoch: ahead.epoch + 1 }, put),
          writes({ object: unowned, epoch: fine.epoch }, put),
        ],
      });
      expect(refused).toEqual(new Set([stale.object.key, ahead.object.key, unowned.key]));
      for (const object of [stale.object, ahead.object, unowned]) {
        expect(await listed(host, object)).toEqual([]);
        expect(await host.directory.alarms(10, object)).toEqual([]);
      }
      expect(await listed(host, fine.object)).toEqual(["key", "other"]);
      expect(await host.directory.alarms(10, fine.object)).toHaveLength(1);
    },
  );

  schedule(
    "L4 a fenced object loses nothing: neither its keys nor its alarms, to no kind of change",
    async (cluster) => {
      const host = await cluster.host();
      const { object, epoch } = await owned(host);
      await write(host, { object, epoch }, { values: { a: "1", b: "2" }, alarms: { alarm } });
      const late = writes(
        { object, epoch: epoch - 1 },
        { clears: true, values: { a: null, c: "3" }, alarms: { alarm: null } },
      );
      expect((await sent(host, { writes: [late] })).refused).toEqual(new Set([object.key]));
      expect(await listed(host, object)).toEqual(["a", "b"]);
      expect(await host.directory.alarms(10, object)).toHaveLength(1);
    },
  );

  schedule(
    "L4 a write of another session changes nothing, though it names the right epoch",
    async (cluster) => {
      const [host, other] = [await cluster.host(), await cluster.host()];
      const lease = await owned(host);
      const { refused } = await sent(other, { writes: [writes(lease, { values: { key: "stolen" } })] });
      expect(refused).toEqual(new Set([lease.object.key]));
      expect(await listed(host, lease.object)).toEqual([]);
    },
  );

  schedule("L4 what was given up or taken anew is written under its old epoch no more", async (cluster) => {
    const host = await cluster.host();
    const [given, anew] = [await owned(host), await owned(host)];
    await host.commit({ release: [given], acquire: [{ object: anew.object, when: "mine" }] });
    const put = { values: { key: "late" } };
    const { refused } = await sent(host, { writes: [writes(given, put), writes(anew, put)] });
    expect(refused).toEqual(new Set([given.object.key, anew.object.key]));
    expect(await listed(host, given.object)).toEqual([]);
    expect(await listed(host, anew.object)).toEqual([]);
  });

  schedule("L4 nothing is written once the session was handed back", async (cluster) => {
    const [host, other] = [await cluster.host(), await cluster.host()];
    const lease = await owned(host);
    await host.directory.endSession(host.session);
    const late = host.next({ writes: [writes(lease, { values: { key: "late" }, alarms: { alarm } })] });
    const over = { outcome: "session_over", reason: "ended" } as const;
    expect(await host.directory.commit(late)).toEqual(over);
    expect(await host.directory.commit(late)).toEqual(over);
    expect(await listed(other, lease.object)).toEqual([]);
    expect(await other.directory.alarms(10)).toEqual([]);
  });

  schedule(
    "L4 nothing is written once the session has expired, though nobody took the object",
    async (cluster) => {
      const [host, witness] = [await cluster.host(), await cluster.host()];
      const lease = await owned(host);
      await cluster.expire(host, witness);
      const late = host.next({ writes: [writes(lease, { values: { key: "late" } })] });
      expect(await host.directory.commit(late)).toEqual({ outcome: "session_over", reason: "expired" });
      expect(await listed(witness, lease.object)).toEqual([]);
    },
  );

  schedule(
    "L4 after a takeover the old owner writes nothing, and the new one finds what was written before",
    async (cluster) => {
      const taker = await cluster.host();
      const host = await cluster.host();
      const lease = await owned(host);
      await write(host, lease, { values: { key: "before" } });
      await cluster.expire(host, taker);
      const { leases, loaded } = await acquired(taker, [lease.object]);
      wonBy(taker, leases);
      expect(textOf(loaded.get(lease.object.key)?.values.get("key"))).toBe("before");
      await host.directory.commit(host.next({ writes: [writes(lease, { values: { key: "late" } })] }));
      expect(textOf(await readOne(taker, lease.object, "key"))).toBe("before");
    },
  );

  schedule("L2 L4 a draining session takes nothing and still writes what it owns", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    host.facts = { ...host.facts, draining: true };
    await host.renew();
    await write(host, lease, { values: { alone: "1" } });
    const acquire = [{ object: newObject(), when: "free" as const, load: true }];
    const answer = await host.send({ acquire, writes: [writes(lease, { values: { beside: "2" } })] });
    expect(answer).toMatchObject({ outcome: "draining", loaded: new Map(), refused: new Set() });
    expect(await listed(host, lease.object)).toEqual(["alone", "beside"]);
  });
}

function numberedWrites(schedule: Schedule): void {
  schedule(
    "L6 a second copy of a slot changes nothing and answers the same, also who was refused",
    async (cluster) => {
      const host = await cluster.host();
      const [fine, stale] = [await owned(host), await owned(host)];
      const put = { values: { key: "1" }, alarms: { alarm } };
      const parts = { writes: [writes(fine, put), writes({ ...stale, epoch: 1 }, put)] };
      for (const beside of [{}, { acquire: [{ object: newObject(), when: "free" as const, load: true }] }]) {
        const commit = host.next({ ...parts, ...beside });
        const first = await host.directory.commit(commit);
        const second = await host.directory.commit(commit);
        expect(first).toMatchObject({ outcome: "committed", refused: new Set([stale.object.key]) });
        expect({ ...second, nowMs: 0 }).toEqual({ ...first, nowMs: 0 });
        await host.send(commit);
      }
    },
  );

  schedule(
    "L6 a write that is held back and lands after its slot was claimed empty changes nothing",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      const late = host.next({
        writes: [writes(lease, { clears: true, values: { key: "late" }, alarms: { alarm } })],
      });
      await host.send({ ...late, writes: [] });
      expect((await host.directory.commit(late)).outcome).toBe("committed");
      expect(await listed(host, lease.object)).toEqual([]);
      expect(await host.directory.alarms(10)).toEqual([]);
      await write(host, lease, { values: { key: "next" } });
      await host.directory.commit(late);
      expect(textOf(await readOne(host, lease.object, "key"))).toBe("next");
    },
  );

  schedule(
    "L6 a write whose outcome is unknown is settled by sending its slot again, and is applied once",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      const first = host.next({ writes: [writes(lease, { clears: true, values: { a: "1", n: "1" } })] });
      await host.directory.commit(first); // its answer is lost
      expect(await host.send(first)).toMatchObject({ outcome: "committed", refused: new Set() });
      await write(host, lease, { values: { a: null, n: "2" } });
      expect((await host.directory.commit(first)).outcome).toBe("committed");
      expect(await listed(host, lease.object)).toEqual(["n"]);
      expect(textOf(await readOne(host, lease.object, "n"))).toBe("2");
    },
  );

  schedule("L6 of two copies that are under way at once one is applied, whichever", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    for (let round = 0; round < 10; round += 1) {
      const commit = host.next({ writes: [writes(lease, { values: { [`key-${round}`]: "1" } })] });
      const copies = [commit, commit, commit].map((copy) => host.directory.commit(copy));
      for (const answer of await Promise.all(copies))
        expect(answer).toMatchObject({ outcome: "committed", refused: new Set() });
      await host.send(commit);
    }
    expect(await listed(host, lease.object)).toHaveLength(10);
  });

  schedule("L6 a slot out of its turn writes nothing", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const next = host.next({ writes: [writes(lease, { values: { key: "1" } })] });
    await host.directory.commit({ ...next, slot: next.slot - 1 });
    expect(await listed(host, lease.object)).toEqual([]);
  });

  schedule("L6 writes, acquisitions, adoptions and releases travel in one commit", async (cluster) => {
    const [host, old] = [await cluster.host(), await cluster.host()];
    const [kept, given, left] = [await owned(host), await owned(host), await owned(old)];
    await write(old, left, { values: { key: "left" } });
    await old.directory.endSession(old.session);
    const fresh = newObject();
    const { leases, loaded, refused } = await sent(host, {
      acquire: [
        { object: fresh, when: "free", load: true },
        { object: left.object, when: "free", load: true },
      ],
      release: [given],
      writes: [writes(kept, { values: { key: "kept" } })],
    });
    wonBy(host, leases, fresh);
    wonBy(host, leases, left.object);
    expect(refused.size).toBe(0);
    expect(loaded.get(fresh.key)?.values.size ?? 0).toBe(0);
    expect(textOf(loaded.get(left.object.key)?.values.get("key"))).toBe("left");
    expect(textOf(await readOne(host, kept.object, "key"))).toBe("kept");
    expect(await host.verify(given.object, given.epoch)).toBe(false);
  });

  schedule("L6 a commit that is refused whole writes nothing of any object", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const seen = { ...host.seen, generation: "another" };
    const commit = { ...host.next({ writes: [writes(lease, { values: { key: "1" } })] }), seen };
    expect((await host.directory.commit(commit)).outcome).toBe("session_over");
    expect(await listed(await cluster.host(), lease.object)).toEqual([]);
  });
}

function lostMemory(schedule: Schedule): void {
  schedule("L9 a directory that forgot a commit of writes is found out by the next one", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const forget = await cluster.backup();
    await write(host, lease, { values: { forgotten: "1" } });
    await forget();
    const next = host.next({ writes: [writes(lease, { values: { next: "2" } })] });
    const over = { outcome: "session_over", reason: "directory_lost_memory" } as const;
    expect(await host.directory.commit(next)).toEqual(over);
    expect(await host.directory.commit(next)).toEqual(over);
    expect(await listed(host, lease.object)).toEqual([]);
  });

  schedule("L9 a renewal finds out as well", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const forget = await cluster.backup();
    await write(host, lease, { values: { forgotten: "1" } });
    await forget();
    expect(await host.renew()).toEqual({ alive: false, reason: "directory_lost_memory" });
  });

  schedule("L9 a directory that forgot a renewal is found out by a commit of writes", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const forget = await cluster.backup();
    expect((await host.renew()).alive).toBe(true);
    await forget();
    const next = host.next({ writes: [writes(lease, { values: { next: "1" } })] });
    const over = { outcome: "session_over", reason: "directory_lost_memory" } as const;
    expect(await host.directory.commit(next)).toEqual(over);
    expect(await listed(host, lease.object)).toEqual([]);
  });

  schedule("L9 commits of writes and renewals by turns never look like a loss", async (cluster) => {
    const [host, other] = [await cluster.host(), await cluster.host()];
    const lease = await owned(host);
    for (let round = 0; round < 5; round += 1) {
      await write(host, lease, { values: { [`a${round}`]: "1" } });
      await write(host, lease, { values: { [`b${round}`]: "1" } });
      expect((await host.renew()).alive).toBe(true);
      expect((await other.renew()).alive).toBe(true);
      await host.acquire(newObject());
    }
    expect(await listed(host, lease.object)).toHaveLength(10);
  });
}

function values(schedule: Schedule): void {
  schedule("a value is any bytes, from none to 2 MiB, and several of them", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const large = bytesOf(2 * mebibyte);
    const inside = large.subarray(1_000, 1_300); // a view of a larger buffer
    const stored = { empty: new Uint8Array(), zero: new Uint8Array(1), every, large, inside };
    await write(host, lease, { values: stored });
    for (const [key, value] of Object.entries(stored)) {
      expect(same(await readOne(host, lease.object, key), value)).toBe(true);
    }
  });

  schedule(
    "a commit of nothing but an empty value, or an alarm without payload, is written",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      await write(host, lease, { values: { empty: new Uint8Array() } });
      expect(await readOne(host, lease.object, "empty")).toEqual(new Uint8Array());
      await write(host, lease, { alarms: { quiet: { ...alarm, payload: new Uint8Array() } } });
      const { loaded } = await acquired(host, [lease.object], "mine");
      expect(loaded.get(lease.object.key)?.alarms.get("quiet")?.payload).toEqual(new Uint8Array());
    },
  );

  schedule("a commit larger than one text or blob of a server may be is written whole", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const large = Array.from({ length: 4 }, (_, n) => [`large-${n}`, bytesOf(2 * mebibyte, n)] as const);
    await write(host, lease, { values: Object.fromEntries(large) });
    for (const [key, value] of large) expect(same(await readOne(host, lease.object, key), value)).toBe(true);
    const names = Array.from({ length: 3_000 }, (_, n) => `${"k".repeat(2_000)}-${n}`);
    await write(host, lease, { values: Object.fromEntries(names.map((key) => [key, key.slice(2_000)])) });
    const some = names.filter((_, n) => n % 10 === 0);
    const read = await host.directory.read(some.map((key) => ({ object: lease.object, key })));
    expect(read.map(textOf)).toEqual(some.map((key) => key.slice(2_000)));
    await write(host, lease, { values: Object.fromEntries(names.map((key) => [key, null])) });
    expect((await paged(host, lease.object, 100, false)).keys).toEqual(large.map(([key]) => key));
  });

  schedule("a value of 4 MiB is written beside those that fit into one statement", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const large = [bytesOf(2 * mebibyte - 1), bytesOf(4 * mebibyte), bytesOf(5)] as const;
    await write(host, lease, { values: { a: large[0], b: large[1], c: large[2] } });
    for (const [index, key] of ["a", "b", "c"].entries())
      expect((await readOne(host, lease.object, key))?.length).toBe(large[index]?.length);
  });

  schedule("an object that changes nothing is told as well that it was refused", async (cluster) => {
    const host = await cluster.host();
    const [fine, stale] = [await owned(host), { ...(await owned(host)), epoch: 1 }];
    const put = writes(fine, { values: { a: "1" } });
    expect((await sent(host, { writes: [put, writes(stale, {})] })).refused).toEqual(
      new Set([stale.object.key]),
    );
  });

  schedule(
    "a read answers in the order asked, of several objects, large values and missing keys",
    async (cluster) => {
      const host = await cluster.host();
      const [one, two] = [await owned(host), await owned(host)];
      const large = Array.from({ length: 5 }, (_, n) => bytesOf(2 * mebibyte - 1, n));
      await write(host, one, { values: { a: large[0] ?? null, b: large[1] ?? null, small: "small" } });
      await write(host, two, { values: { a: large[2] ?? null, b: large[3] ?? null, c: large[4] ?? null } });
      const asked = [
        [two, "c", large[4]],
        [one, "missing", undefined],
        [one, "b", large[1]],
        [two, "a", large[2]],
        [one, "small", bytes("small")],
        [one, "a", large[0]],
        [two, "b", large[3]],
        [{ object: newObject() }, "a", undefined],
        [one, "small", bytes("small")],
      ] as const;
      const read = await host.directory.read(asked.map(([{ object }, key]) => ({ object, key })));
      expect(read).toHaveLength(asked.length);
      for (const [index, [, , value]] of asked.entries()) expect(same(read[index], value)).toBe(true);
      expect(await host.directory.read([])).toEqual([]);
    },
  );
}

function keys(schedule: Schedule): void {
  schedule("keys are any text, and in the order of the bytes of their UTF-8", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const sorted = [
      ...[
        "\u0001",
        " ",
        '"',
        "%",
        "%61",
        "'",
        "' OR 1=1 --",
        "/",
        ":session",
        "A",
        "B",
        "[0]",
        "\\",
        "\\u0061",
      ],
      ...[
        "_",
        "a",
        "a%",
        "aa",
        "b",
        "e\u0301",
        "z".repeat(2_048),
        "\u007f",
        "\u0080",
        "é",
        "\ud7ff",
        "\ue000",
      ],
      ...["\uffff", "\u{10000}", "🜁", "\u{10ffff}"],
    ];
    const shuffled = sorted.toSorted((a, b) => Bun.hash.crc32(a) - Bun.hash.crc32(b));
    await write(host, lease, { values: Object.fromEntries(shuffled.map((key) => [key, `value of ${key}`])) });
    expect(await listed(host, lease.object)).toEqual(sorted);
    expect(await listed(host, lease.object, { reverse: true })).toEqual(sorted.toReversed());
    const read = await host.directory.read(sorted.map((key) => ({ object: lease.object, key })));
    expect(read.map(textOf)).toEqual(sorted.map((key) => `value of ${key}`));
    const after = await listed(host, lease.object, { start: "\uffff", end: "\u{10ffff}" });
    expect(after).toEqual(["\uffff", "\u{10000}", "🜁"]);
    await write(host, lease, { values: Object.fromEntries(sorted.map((key) => [key, null])) });
    expect(await listed(host, lease.object)).toEqual([]);
  });

  schedule("objects whose ids look alike share nothing", async (cluster) => {
    const host = await cluster.host();
    const ids = [
      "a/b",
      "a%2Fb",
      "a",
      "A",
      "a b",
      "a+b",
      "ä",
      "a\u0308",
      "%",
      "_",
      "'",
      "🜁",
      "a\0b",
      "a\0c",
      "...",
    ];
    const refs = [...ids.map((id) => objectRef("odd", id)), objectRef("odd-a", "b"), objectRef("od", "a/b")];
    const leases = await host.acquire(...refs);
    const put = (object: ObjectRef) =>
      writes(
        { object, epoch: wonBy(host, leases, object).epoch },
        { values: { key: object.key, [object.key]: "" }, alarms: { [object.key]: { ...alarm, dueAtMs: 1 } } },
      );
    expect((await sent(host, { writes: refs.map(put) })).refused.size).toBe(0);
    const read = await host.directory.read(refs.map((object) => ({ object, key: "key" })));
    expect(read.map(textOf)).toEqual(refs.map(({ key }) => key));
    const { loaded } = await acquired(host, refs, "mine");
    for (const object of refs) {
      expect([...(loaded.get(object.key)?.values.keys() ?? [])].toSorted()).toEqual(
        [object.key, "key"].toSorted(),
      );
      const reports = await host.directory.alarms(10, object);
      expect(reports.map(({ className, id, name }) => [className, id, name])).toEqual([
        [object.className, object.id, object.key],
      ]);
    }
    const due = await host.directory.dueAlarms(100, 0);
    expect(new Set(due.map(({ className, id }) => objectRef(className, id).key))).toEqual(
      new Set(refs.map(({ key }) => key)),
    );
  });
}

function changesTogether(schedule: Schedule): void {
  schedule("what is cleared goes first: what the same commit puts is there afterwards", async (cluster) => {
    const host = await cluster.host();
    const [lease, neighbour] = [await owned(host), await owned(host)];
    await write(host, lease, { values: { kept: "1", gone: "1", again: "1" } });
    await write(host, neighbour, { values: { kept: "1" } });
    await write(host, lease, { clears: true, values: { again: "2", fresh: "2", gone: null } });
    expect(await listed(host, lease.object)).toEqual(["again", "fresh"]);
    expect(textOf(await readOne(host, lease.object, "again"))).toBe("2");
    expect(await listed(host, neighbour.object)).toEqual(["kept"]);
    await write(host, lease, { clears: true });
    expect(await listed(host, lease.object)).toEqual([]);
  });

  schedule(
    "an object's own record is in no list, survives a clear and goes only by its name",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      await write(host, lease, { values: { [recordKey]: "record", key: "1" }, alarms: { alarm } });
      expect(await listed(host, lease.object)).toEqual(["key"]);
      expect(await listed(host, lease.object, { reverse: true, end: "z" })).toEqual(["key"]);
      await write(host, lease, { clears: true });
      expect(textOf(await readOne(host, lease.object, recordKey))).toBe("record");
      expect(await host.directory.alarms(10, lease.object)).toHaveLength(1);
      await write(host, lease, { clears: true, values: { [recordKey]: "next" } });
      expect(textOf(await readOne(host, lease.object, recordKey))).toBe("next");
      await write(host, lease, { values: { [recordKey]: null } });
      expect(await readOne(host, lease.object, recordKey)).toBeUndefined();
    },
  );

  schedule(
    "puts replace, deletes of what is not there do nothing, and nothing at all is a commit too",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      await write(host, lease, { values: { key: "1", other: "1" } });
      await write(host, lease, { values: { key: "longer than before", other: null, missing: null } });
      expect(await listed(host, lease.object)).toEqual(["key"]);
      expect(textOf(await readOne(host, lease.object, "key"))).toBe("longer than before");
      await write(host, lease, {});
      expect(await listed(host, lease.object)).toEqual(["key"]);
    },
  );

  schedule("many objects write many kinds of change in one commit", async (cluster) => {
    const host = await cluster.host();
    const leases = await ownedMany(host, 100);
    await sent(host, {
      writes: leases.map((lease, n) => writes(lease, { values: { old: "1", n: `${n}` } })),
    });
    const changes = leases.map((lease, n) =>
      writes(lease, { clears: n % 3 === 0, values: { old: n % 2 === 0 ? null : "2", [`k${n}`]: `${n}` } }),
    );
    expect((await sent(host, { writes: changes })).refused.size).toBe(0);
    for (const [n, { object }] of leases.entries()) {
      const left = [`k${n}`, ...(n % 3 === 0 ? [] : ["n"]), ...(n % 2 === 0 ? [] : ["old"])];
      expect(await listed(host, object)).toEqual(left);
    }
  });
}

function pages(schedule: Schedule): void {
  schedule(
    "a list has a start, an end, a limit, a direction, and says whether it goes on",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      await write(host, lease, {
        values: Object.fromEntries(["a", "b", "ba", "c", "d"].map((key) => [key, key])),
      });
      const page = (range: Partial<StoredRange>) => keysOf(host.directory.list(rangeOf(lease.object, range)));
      expect(await page({})).toEqual([["a", "b", "ba", "c", "d"], false]);
      expect(await page({ start: "b" })).toEqual([["b", "ba", "c", "d"], false]);
      expect(await page({ start: "b", end: "c" })).toEqual([["b", "ba"], false]);
      expect(await page({ start: "aa", end: "bb", reverse: true })).toEqual([["ba", "b"], false]);
      expect(await page({ limit: 2 })).toEqual([["a", "b"], true]);
      expect(await page({ limit: 5 })).toEqual([["a", "b", "ba", "c", "d"], false]);
      expect(await page({ limit: 2, reverse: true })).toEqual([["d", "c"], true]);
      expect(await page({ start: "b", end: "d", limit: 3 })).toEqual([["b", "ba", "c"], false]);
      expect(await page({ start: "c", end: "b" })).toEqual([[], false]);
      expect(await page({ start: "e" })).toEqual([[], false]);
      expect(await keysOf(host.directory.list(rangeOf(newObject(), {})))).toEqual([[], false]);
    },
  );

  schedule("a thousand keys come page by page, forwards and backwards", async (cluster) => {
    const host = await cluster.host();
    const [lease, neighbour] = [await owned(host), await owned(host)];
    const names = Array.from({ length: 1_000 }, (_, n) => `key-${String(n).padStart(4, "0")}`);
    const put = { values: Object.fromEntries(names.map((key) => [key, key])) };
    await sent(host, { writes: [writes(lease, put), writes(neighbour, put)] });
    expect(await paged(host, lease.object, 99, false)).toMatchObject({ keys: names, pages: 11 });
    expect(await paged(host, lease.object, 100, true)).toMatchObject({ keys: names.toReversed(), pages: 10 });
  });

  schedule(
    "an answer is cut by its bytes, has one value at least, and goes on where it was cut",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      const sizes = { a: 2 * mebibyte, b: 1, c: 2 * mebibyte - 1, d: 2 * mebibyte, e: 5, f: 2 * mebibyte };
      for (const [key, size] of Object.entries(sizes))
        await write(host, lease, { values: { [key]: bytesOf(size) } });
      for (const reverse of [false, true]) {
        const {
          keys: all,
          pages: count,
          bytesMax,
          sizes: read,
        } = await paged(host, lease.object, 100, reverse);
        expect(all).toEqual(reverse ? Object.keys(sizes).toReversed() : Object.keys(sizes));
        expect(read).toEqual(reverse ? Object.values(sizes).toReversed() : Object.values(sizes));
        expect(count).toBeGreaterThan(1);
        expect(bytesMax).toBeLessThan(readBytesMax + 2 * mebibyte);
      }
    },
  );
}

function loads(schedule: Schedule): void {
  schedule(
    "L2 what an object has stored comes with its lease: all keys, its record and its alarms",
    async (cluster) => {
      const [host, next] = [await cluster.host(), await cluster.host()];
      const lease = await owned(host, objectRef("room", "needs/encoding % ä"));
      const daily = { ...alarm, schedule: '{"cron":"0 0 * * *"}', attempt: 2, payload: bytes("{}") };
      await write(host, lease, {
        values: { [recordKey]: "record", b: "2", a: "1" },
        alarms: { daily, failed: { ...alarm, parked: true, lastError: 'no "such" thing' } },
      });
      await host.directory.endSession(host.session);
      const { loaded } = await acquired(next, [lease.object, newObject()]);
      const found = loaded.get(lease.object.key);
      expect(found?.isComplete).toBe(true);
      expect(found?.values).toEqual(
        new Map([
          ["", bytes("record")],
          ["a", bytes("1")],
          ["b", bytes("2")],
        ]),
      );
      expect(found?.alarms).toEqual(
        new Map([
          ["daily", daily],
          ["failed", { ...alarm, parked: true, lastError: 'no "such" thing' }],
        ]),
      );
    },
  );

  schedule(
    "L2 nothing comes along unasked, for an object that has nothing, or that somebody else owns",
    async (cluster) => {
      const [host, other] = [await cluster.host(), await cluster.host()];
      const [mine, others, fresh] = [await owned(host), await owned(other), newObject()];
      await write(host, mine, { values: { key: "1" } });
      await write(other, others, { values: { key: "1" }, alarms: { alarm } });
      const unasked = await sent(host, { acquire: [{ object: mine.object, when: "mine" }] });
      expect(unasked.loaded.size).toBe(0);
      const { leases, loaded } = await acquired(host, [others.object, fresh]);
      wonBy(other, leases, others.object);
      expect(loaded.has(others.object.key)).toBe(false);
      expect(loaded.get(fresh.key) ?? nothingStored).toEqual(nothingStored);
    },
  );

  schedule(
    "L2 L6 a load sees what its own commit wrote, and comes again with a second copy",
    async (cluster) => {
      const [host, old] = [await cluster.host(), await cluster.host()];
      const [mine, left] = [await owned(host), await owned(old)];
      await write(old, left, { values: { key: "left" } });
      await old.directory.endSession(old.session);
      const commit = host.next({
        acquire: [{ object: left.object, when: "free", load: true }],
        writes: [writes(mine, { values: { key: "mine" } })],
      });
      await host.directory.commit(commit);
      const { loaded } = await sent(host, commit);
      expect(textOf(loaded.get(left.object.key)?.values.get("key"))).toBe("left");
    },
  );

  schedule(
    "of more keys than go along the first come, and the rest is known to be missing",
    async (cluster) => {
      const host = await cluster.host();
      const [exact, over] = [await owned(host), await owned(host)];
      const names = Array.from({ length: loadLimits.keysMax }, (_, n) => `k${String(n).padStart(3, "0")}`);
      const put = Object.fromEntries(names.map((key) => [key, key]));
      await write(host, exact, { values: put });
      await write(host, over, { values: { ...put, [recordKey]: "record" } });
      const { loaded } = await acquired(host, [over.object, exact.object], "mine");
      expect(loaded.get(exact.object.key)?.isComplete).toBe(true);
      expect([...(loaded.get(exact.object.key)?.values.keys() ?? [])]).toEqual(names);
      expect(loaded.get(over.object.key)?.isComplete).toBe(false);
      expect([...(loaded.get(over.object.key)?.values.keys() ?? [])]).toEqual([
        recordKey,
        ...names.slice(0, -1),
      ]);
    },
  );

  schedule("a value over its limit does not go along, and its key is known all the same", async (cluster) => {
    const host = await cluster.host();
    const [one, two] = [await owned(host), await owned(host)];
    const { valueBytesMax, recordBytesMax } = loadLimits;
    await write(host, one, {
      values: {
        [recordKey]: bytesOf(recordBytesMax),
        fits: bytesOf(valueBytesMax),
        over: bytesOf(valueBytesMax + 1),
      },
    });
    await write(host, two, { values: { [recordKey]: bytesOf(recordBytesMax + 1), small: "1" } });
    const { loaded } = await acquired(host, [one.object, two.object], "mine");
    const lengths = (object: ObjectRef) =>
      Array.from(loaded.get(object.key)?.values ?? [], ([key, value]) => [key, value?.length]);
    expect(lengths(one.object)).toEqual([
      [recordKey, recordBytesMax],
      ["fits", valueBytesMax],
      ["over", undefined],
    ]);
    expect(lengths(two.object)).toEqual([
      [recordKey, undefined],
      ["small", 1],
    ]);
    expect(loaded.get(one.object.key)?.isComplete).toBe(true);
    expect(loaded.get(two.object.key)?.isComplete).toBe(true);
  });
}

function budgets(schedule: Schedule): void {
  schedule(
    "all that goes along with one commit is bounded, and every record's key is known",
    async (cluster) => {
      const host = await cluster.host();
      const all = await ownedMany(host, 40);
      const names = Array.from({ length: 8 }, (_, n) => `k${n}`);
      const put = Object.fromEntries(names.map((key) => [key, bytesOf(loadLimits.valueBytesMax)]));
      await sent(host, { writes: all.slice(0, 20).map((lease) => writes(lease, { values: put })) });
      const withRecord = { values: { ...put, [recordKey]: "record" } };
      await sent(host, { writes: all.slice(20).map((lease) => writes(lease, withRecord)) });
      const { loaded } = await acquired(
        host,
        all.map(({ object }) => object),
        "mine",
      );
      const found = all.map(({ object }) => loaded.get(object.key));
      const total = found.flatMap((load) => [...(load?.values.values() ?? [])]);
      const bytesLoaded = total.reduce((sum, value) => sum + (value?.length ?? 0), 0);
      expect(bytesLoaded).toBeLessThanOrEqual(loadLimits.bytesMax);
      expect(bytesLoaded).toBeGreaterThan(loadLimits.bytesMax * 0.9);
      expect(found[0]?.isComplete).toBe(true);
      expect(found[0]?.values.size).toBe(names.length);
      expect(found.at(-1)?.isComplete).toBe(false);
      expect(found.at(-1)?.values).toEqual(new Map([[recordKey, undefined]]));
    },
  );

  schedule("what is too large by itself leaves its room to the others", async (cluster) => {
    const host = await cluster.host();
    const [huge, small] = [await owned(host), await owned(host)];
    for (const key of ["a", "b", "c"]) await write(host, huge, { values: { [key]: bytesOf(2 * mebibyte) } });
    await write(host, small, { values: { key: "small" } });
    const { loaded } = await acquired(host, [huge.object, small.object], "mine");
    expect(loaded.get(huge.object.key)?.values.get("c")).toBeUndefined();
    expect(loaded.get(huge.object.key)?.isComplete).toBe(true);
    expect(textOf(loaded.get(small.object.key)?.values.get("key"))).toBe("small");
  });

  schedule("a thousand objects with a hundred keys each are taken in one commit", async (cluster) => {
    const host = await cluster.host();
    const all = await ownedMany(host, 1_000);
    const put = Object.fromEntries(
      Array.from({ length: 100 }, (_, n) => [`a-key-of-usual-length-${n}`, "1"]),
    );
    for (let from = 0; from < all.length; from += 50) {
      await sent(host, { writes: all.slice(from, from + 50).map((lease) => writes(lease, { values: put })) });
    }
    const { loaded } = await acquired(
      host,
      all.map(({ object }) => object),
      "mine",
    );
    expect(loaded.get(all[0]?.object.key ?? "")?.isComplete).toBe(true);
    expect(loaded.get(all.at(-1)?.object.key ?? "")?.isComplete).toBe(false);
  });
}

function alarmRows(schedule: Schedule): void {
  schedule("alarms are put, replaced and deleted by name, all of an alarm at once", async (cluster) => {
    const host = await cluster.host();
    const [lease, neighbour] = [await owned(host), await owned(host)];
    const first = {
      ...alarm,
      payload: bytes("first"),
      schedule: "{}",
      attempt: 3,
      lastError: "error",
      parked: true,
    };
    await write(host, neighbour, { alarms: { one: first } });
    await write(host, lease, { alarms: { one: first, two: alarm, three: alarm } });
    const second = { ...alarm, dueAtMs: alarm.dueAtMs + 1, payload: bytes("second") };
    await write(host, lease, { alarms: { one: second, two: null, missing: null } });
    const { loaded } = await acquired(host, [lease.object, neighbour.object], "mine");
    expect(loaded.get(lease.object.key)?.alarms).toEqual(
      new Map([
        ["one", second],
        ["three", alarm],
      ]),
    );
    expect(loaded.get(neighbour.object.key)?.alarms).toEqual(new Map([["one", first]]));
  });

  schedule("alarms of many objects travel with their values in one commit", async (cluster) => {
    const host = await cluster.host();
    const all = await ownedMany(host, 50);
    const put = all.map((lease, n) =>
      writes(lease, { values: { n: `${n}` }, alarms: { a: { ...alarm, payload: bytes(`payload ${n}`) } } }),
    );
    await sent(host, { writes: put });
    const { loaded } = await acquired(
      host,
      all.map(({ object }) => object),
      "mine",
    );
    for (const [n, { object }] of all.entries()) {
      expect(textOf(loaded.get(object.key)?.values.get("n"))).toBe(`${n}`);
      expect(textOf(loaded.get(object.key)?.alarms.get("a")?.payload)).toBe(`payload ${n}`);
    }
  });

  schedule("a message that was cut in the middle of a character does no harm", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    await write(host, lease, { alarms: { cut: { ...alarm, parked: true, lastError: "no \ud83d" } } });
    const { loaded } = await acquired(host, [lease.object], "mine");
    expect(loaded.get(lease.object.key)?.alarms.get("cut")?.lastError).toBe("no \ufffd");
    expect((await host.directory.alarms(1))[0]?.lastError).toBe("no \ufffd");
  });
}

function alarmsOfASlowClock(schedule: Schedule): void {
  schedule(
    "A5 L3 while the clock is behind, alarms are due by the directory's time, and owners are gone by it",
    async (cluster) => {
      await cluster.setClockBack(3_600_000);
      const [host, witness] = [await cluster.host(), await cluster.host()];
      const [asleep, future, lost] = [await owned(host), await owned(host), await owned(host)];
      const { nowMs } = host.opened;
      await write(host, asleep, { alarms: { a: at(nowMs - 1) } });
      await write(host, future, { alarms: { a: at(nowMs + 1_800_000) } });
      await write(host, lost, { alarms: { a: at(nowMs) } });
      await host.commit({ release: [asleep] });
      expect(await witness.directory.dueAlarms(10, 60_000)).toEqual([nameOf(asleep.object)]);
      await cluster.expire(host, witness);
      expect(await witness.directory.dueAlarms(10, 60_000)).toEqual(
        [asleep, lost].map(({ object }) => nameOf(object)),
      );
    },
  );
}

function dueAlarms(schedule: Schedule): void {
  schedule(
    "of objects that nobody owns alarms are due when their time has come, and parked ones never",
    async (cluster) => {
      const [host, watcher] = [await cluster.host(), await cluster.host()];
      const [due, future, parked, none] = [
        await owned(host),
        await owned(host),
        await owned(host),
        await owned(host),
      ];
      const now = Date.now();
      await write(host, due, { alarms: { past: at(now - 1_000), later: at(now + 60_000) } });
      await write(host, future, { alarms: { later: at(now + 60_000) } });
      await write(host, parked, { alarms: { failed: { ...at(now - 1_000), parked: true } } });
      await write(host, none, { alarms: { set: at(now - 1_000) } });
      await write(host, none, { alarms: { set: null } });
      expect(await watcher.directory.dueAlarms(10, 60_000)).toEqual([]);
      await host.directory.endSession(host.session);
      expect(await watcher.directory.dueAlarms(10, 60_000)).toEqual([nameOf(due.object)]);
    },
  );

  schedule("alarms of an object that somebody alive owns are left to him for a while", async (cluster) => {
    const host = await cluster.host();
    const [long, short, given] = [await owned(host), await owned(host), await owned(host)];
    const now = Date.now();
    await write(host, long, { alarms: { a: at(now - 60_000) } });
    await write(host, short, { alarms: { a: at(now - 5_000) } });
    await write(host, given, { alarms: { a: at(now - 1_000) } });
    await host.commit({ release: [given] });
    expect(await host.directory.dueAlarms(10, 30_000)).toEqual([long.object, given.object].map(nameOf));
    expect(await host.directory.dueAlarms(10, 0)).toEqual(
      [long, short, given].map(({ object }) => nameOf(object)),
    );
    expect(await host.directory.dueAlarms(10, 3_600_000)).toEqual([nameOf(given.object)]);
  });

  schedule("alarms of an object whose owner has expired are due at once", async (cluster) => {
    const [host, witness] = [await cluster.host(), await cluster.host()];
    const lease = await owned(host);
    await write(host, lease, { alarms: { a: at(Date.now() - 1_000) } });
    expect(await witness.directory.dueAlarms(10, 60_000)).toEqual([]);
    await cluster.expire(host, witness);
    expect(await witness.directory.dueAlarms(10, 60_000)).toEqual([nameOf(lease.object)]);
  });

  schedule("A5 alarms of classes that nobody runs do not stand before the others", async (cluster) => {
    const host = await cluster.host();
    const gone = objectRef("gone", `a-${crypto.randomUUID()}`);
    const here = await owned(host);
    const lease = wonBy(host, await host.acquire(gone), gone);
    const now = Date.now();
    await write(
      host,
      { object: gone, epoch: lease.epoch },
      { alarms: { a: at(now - 60_000), b: at(now - 50_000) } },
    );
    await write(host, here, { alarms: { a: at(now - 10_000) } });
    expect(await host.directory.dueAlarms(2, 0)).toEqual([nameOf(gone)]);
    expect(await host.directory.dueAlarms(2, 0, [here.object.className])).toEqual([nameOf(here.object)]);
    expect(await host.directory.dueAlarms(2, 0, [])).toEqual([]);
  });

  schedule("the most overdue comes first, each object once, as many as are asked for", async (cluster) => {
    const host = await cluster.host();
    const all = await ownedMany(host, 6);
    const now = Date.now();
    const order = [3, 0, 5, 1, 4, 2];
    const put = all.map((lease, n) => {
      const overdueMs = 10_000 - 1_000 * order.indexOf(n);
      return writes(lease, {
        alarms: { b: at(now - overdueMs), a: at(now - overdueMs + 1), c: at(now - 1) },
      });
    });
    await sent(host, { writes: put });
    const names = order.flatMap((n) => all[n]?.object ?? []).map(nameOf);
    expect(await host.directory.dueAlarms(100, 0)).toEqual(names);
    expect(await host.directory.dueAlarms(4, 0)).toEqual(names.slice(0, 2));
    expect((await host.directory.dueAlarms(3, 0)).length).toBeLessThanOrEqual(3);
  });
}

function alarmReports(schedule: Schedule): void {
  schedule(
    "a report has the parked alarms first, then by when they are due, of one object or of all",
    async (cluster) => {
      const host = await cluster.host();
      const [one, two] = [await owned(host, objectRef("room", "a/b ä")), await owned(host)];
      const failed = { ...at(3), parked: true, lastError: "failed", attempt: 5, schedule: "{}" };
      await write(host, one, { alarms: { late: at(9), failed, early: at(1) } });
      await write(host, two, { alarms: { middle: at(5), parked: { ...at(8), parked: true } } });
      const names = async (limit: number, object?: ObjectRef) =>
        (await host.directory.alarms(limit, object)).map(({ name }) => name);
      expect(await names(10)).toEqual(["failed", "parked", "early", "middle", "late"]);
      expect(await names(3)).toEqual(["failed", "parked", "early"]);
      expect(await names(10, one.object)).toEqual(["failed", "early", "late"]);
      expect(await names(1, two.object)).toEqual(["parked"]);
      expect(await names(10, newObject())).toEqual([]);
      const { payload: _, ...facts } = failed;
      expect((await host.directory.alarms(1))[0]).toEqual({
        ...nameOf(one.object),
        name: "failed",
        ...facts,
      });
    },
  );
}

function messageRows(schedule: Schedule): void {
  schedule("messages are kept by topic and place, whole, and of each object by itself", async (cluster) => {
    const host = await cluster.host();
    const [one, two] = [await owned(host), await owned(host)];
    const kept = {
      ...message(7, "value"),
      ...{ history: "another-1_", form: "json", publishedAtMs: 2 ** 42 },
    };
    const empty = { ...message(8, ""), form: "" };
    await write(host, one, { messages: { news: puts(kept, empty), chat: puts(message(7, "chat")) } });
    await write(host, two, { messages: { news: puts(message(0, "other")) } });
    expect(await topicsOf(host, one.object)).toEqual({ chat: [message(7, "chat")], news: [kept, empty] });
    expect(await topicsOf(host, two.object)).toEqual({ news: [message(0, "other")] });
    expect(await topicsOf(host, newObject())).toEqual({});
  });

  schedule(
    "what is put again takes its place, and trims leave what is at the place itself",
    async (cluster) => {
      const host = await cluster.host();
      const [lease, neighbour] = [await owned(host), await owned(host)];
      const four = [1, 2, 3, 4].map((place) => message(place, `${place}`));
      const all = { news: puts(...four), chat: puts(...four) };
      await sent(host, { writes: [writes(lease, { messages: all }), writes(neighbour, { messages: all })] });
      await write(host, lease, { messages: { news: { keepFrom: 3, puts: [message(4, "again")] } } });
      await write(host, lease, {
        messages: { chat: { keepFrom: 2, puts: [] }, none: { keepFrom: 9, puts: [] } },
      });
      expect(await topicsOf(host, lease.object)).toEqual({
        chat: four.slice(1),
        news: [message(3, "3"), message(4, "again")],
      });
      expect(await topicsOf(host, neighbour.object)).toEqual({ chat: four, news: four });
    },
  );

  schedule("what goes goes first: a history that is replaced has the new messages alone", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    await write(host, lease, { messages: { news: puts(message(1, "old"), message(900, "old")) } });
    const next = { ...message(1, "new"), history: "next" };
    await write(host, lease, { messages: { news: { keepFrom: everyPlace, puts: [next] } } });
    expect(await topicsOf(host, lease.object)).toEqual({ news: [next] });
  });

  schedule("a clear leaves messages as they are, and messages everything else", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const news = puts(message(1, "1"));
    await write(host, lease, { values: { key: "1" }, alarms: { alarm }, messages: { news } });
    await write(host, lease, { clears: true });
    expect(await topicsOf(host, lease.object)).toEqual({ news: [message(1, "1")] });
    await write(host, lease, {
      values: { key: "2" },
      messages: { news: { keepFrom: everyPlace, puts: [] } },
    });
    expect(await topicsOf(host, lease.object)).toEqual({});
    expect(await listed(host, lease.object)).toEqual(["key"]);
    expect(await host.directory.alarms(10, lease.object)).toHaveLength(1);
  });

  schedule(
    "L4 L6 messages are fenced with the rest of their object, and are written once",
    async (cluster) => {
      const host = await cluster.host();
      const [fine, stale] = [await owned(host), await owned(host)];
      await write(host, stale, { messages: { news: puts(message(1, "kept")) } });
      const late = { keepFrom: everyPlace, puts: [message(2, "late")] };
      for (const values of [{}, { key: "1" }]) {
        const commit = host.next({
          writes: [
            writes(fine, { values, messages: { news: puts(message(1, "fine")) } }),
            writes({ ...stale, epoch: 1 }, { values, messages: { news: late } }),
          ],
        });
        expect(await host.directory.commit(commit)).toMatchObject({ refused: new Set([stale.object.key]) });
        await host.send(commit);
        expect(await topicsOf(host, stale.object)).toEqual({ news: [message(1, "kept")] });
        expect(await topicsOf(host, fine.object)).toEqual({ news: [message(1, "fine")] });
      }
      const commit = host.next({ writes: [writes(fine, { messages: { news: puts(message(2, "2")) } })] });
      await host.directory.commit(commit); // its answer is lost
      await host.send(commit);
      await write(host, fine, { messages: { news: { keepFrom: everyPlace, puts: [] } } });
      await host.directory.commit(commit);
      expect(await topicsOf(host, fine.object)).toEqual({});
    },
  );

  schedule("L4 of commits that put messages alone it is told as well who was refused", async (cluster) => {
    const host = await cluster.host();
    const [fine, stale] = [await owned(host), { ...(await owned(host)), epoch: 1 }];
    const put = { messages: { news: puts(message(1, "1")) } };
    expect((await sent(host, { writes: [writes(fine, put)] })).refused.size).toBe(0);
    for (const other of [put, {}, { messages: { news: { keepFrom: 1, puts: [] } } }]) {
      const { refused } = await sent(host, { writes: [writes(fine, put), writes(stale, other)] });
      expect(refused).toEqual(new Set([stale.object.key]));
    }
  });

  schedule("L7 the last messages of an object travel in the commit that moves it", async (cluster) => {
    const [host, target] = [await cluster.host(), await cluster.host()];
    const lease = await owned(host);
    const last = writes(lease, { messages: { news: puts(message(1, "last")) } });
    await sent(host, { writes: [last], move: [{ ...lease, toSession: target.session }] });
    expect(await topicsOf(target, lease.object)).toEqual({ news: [message(1, "last")] });
    const late = writes(lease, { messages: { news: puts(message(2, "late")) } });
    expect((await sent(host, { writes: [late] })).refused).toEqual(new Set([lease.object.key]));
    expect(await topicsOf(target, lease.object)).toEqual({ news: [message(1, "last")] });
  });
}

function messagePages(schedule: Schedule): void {
  schedule("topics have any names, and come in the order of their names in URLs", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const names = ["a", "a/b", "a b", "A", "é", "🜁", '"', "'", "\\", "%", "%25", "\0", "z".repeat(256)];
    const all = names.map((name) => [name, puts(message(1, name))]);
    await write(host, lease, { messages: Object.fromEntries(all) });
    const found = await topicsOf(host, lease.object);
    const sorted = names.toSorted((a, b) => (encodeURIComponent(a) < encodeURIComponent(b) ? -1 : 1));
    expect(Object.entries(found)).toEqual(sorted.map((name) => [name, [message(1, name)]]));
    await write(host, lease, { messages: { "a/b": { keepFrom: everyPlace, puts: [] } } });
    expect(Object.keys(await topicsOf(host, lease.object))).not.toContain("a/b");
  });

  schedule(
    "an answer is cut by its bytes, has one message at least, and goes on behind it",
    async (cluster) => {
      const host = await cluster.host();
      const lease = await owned(host);
      const sizes = [2 * mebibyte, 1, 2 * mebibyte - 1, 2 * mebibyte, 0, 4 * mebibyte];
      for (const [place, size] of sizes.entries()) {
        const large = { ...message(place, ""), value: bytesOf(size) };
        await write(host, lease, { messages: { [place < 3 ? "a" : "b"]: puts(large) } });
      }
      const { messages, pages } = await pagedMessages(host, lease.object);
      expect(messages.map(({ topic, place, value }) => [topic, place, value.length])).toEqual(
        sizes.map((size, place) => [place < 3 ? "a" : "b", place, size]),
      );
      expect(Math.max(...pages)).toBeLessThan(readBytesMax + 4 * mebibyte);
      expect(pages).toHaveLength(2);
    },
  );

  schedule("many messages come page by page, of several topics", async (cluster) => {
    const host = await cluster.host();
    const lease = await owned(host);
    const places = Array.from({ length: readMessagesMax / 2 + 1 }, (_, place) => place);
    const many = puts(...places.map((place) => message(place, `${place}`)));
    await write(host, lease, { messages: { a: many } });
    expect((await pagedMessages(host, lease.object)).pages).toHaveLength(1);
    await write(host, lease, { messages: { b: many } });
    const { messages, pages } = await pagedMessages(host, lease.object);
    expect(pages).toHaveLength(2);
    expect(messages.map(({ topic, place }) => [topic, place])).toEqual(
      ["a", "b"].flatMap((topic) => places.map((place) => [topic, place])),
    );
  });
}

interface OwnedObject {
  readonly object: ObjectRef;
  readonly epoch: number;
}

interface Changes {
  readonly clears?: boolean;
  readonly values?: Readonly<Record<string, string | Uint8Array | null>>;
  readonly alarms?: Readonly<Record<string, StoredAlarm | null>>;
  readonly messages?: Readonly<Record<string, TopicWrites>>;
}

const alarm: StoredAlarm = {
  dueAtMs: 2_000_000_000_000,
  attempt: 0,
  schedule: "",
  payload: Uint8Array.of(1, 2, 3),
  parked: false,
  lastError: "",
};

function at(dueAtMs: number): StoredAlarm {
  return { ...alarm, dueAtMs };
}

async function owned(host: TestHost, object = newObject()): Promise<OwnedObject> {
  return { object, epoch: wonBy(host, await host.acquire(object), object).epoch };
}

async function ownedMany(host: TestHost, count: number): Promise<readonly OwnedObject[]> {
  const objects = Array.from({ length: count }, newObject);
  const leases = await host.acquire(...objects);
  return objects.map((object) => ({ object, epoch: wonBy(host, leases, object).epoch }));
}

function writes({ object, epoch }: OwnedObject, changes: Changes): ObjectWrites {
  const entries = Object.entries(changes.values ?? {});
  const values = entries.map(
    ([key, value]) => [key, typeof value === "string" ? bytes(value) : value] as const,
  );
  const alarms = new Map(Object.entries(changes.alarms ?? {}));
  const messages = new Map(Object.entries(changes.messages ?? {}));
  return { object, epoch, clears: changes.clears ?? false, values: new Map(values), alarms, messages };
}

function message(place: number, text: string): StoredMessage {
  return { place, history: "history", form: "text", publishedAtMs: 1_000, value: bytes(text) };
}

function puts(...messages: readonly StoredMessage[]): TopicWrites {
  return { keepFrom: 0, puts: messages };
}

/** All messages of an object, as who reads them goes on behind the last of each page. */
async function pagedMessages(host: TestHost, object: ObjectRef) {
  const messages: (StoredMessage & MessagePlace)[] = [];
  const pages: number[] = [];
  for (let hasMore = true; hasMore; ) {
    const page = await host.directory.messages(object, messages.at(-1));
    if (page.hasMore && page.messages.length === 0) throw new Error("a page that goes on is empty");
    messages.push(...page.messages);
    pages.push(page.messages.reduce((sum, { value }) => sum + value.length, 0));
    ({ hasMore } = page);
  }
  return { messages, pages };
}

async function topicsOf(host: TestHost, object: ObjectRef): Promise<Record<string, StoredMessage[]>> {
  const { messages, hasMore } = await host.directory.messages(object);
  expect(hasMore).toBe(false);
  const topics: Record<string, StoredMessage[]> = {};
  for (const { topic, ...rest } of messages) {
    topics[topic] ??= [];
    topics[topic].push(rest);
  }
  return topics;
}

/** What must be committed, and is. */
async function sent(host: TestHost, parts: Parameters<TestHost["send"]>[0]): Promise<CommitEffects> {
  const answer = await host.send(parts);
  if (answer.outcome !== "committed") throw new Error(`the commit was ${answer.outcome}`);
  return answer;
}

async function write(host: TestHost, lease: OwnedObject, changes: Changes): Promise<void> {
  expect((await sent(host, { writes: [writes(lease, changes)] })).refused.size).toBe(0);
}

function acquired(
  host: TestHost,
  objects: readonly ObjectRef[],
  when: AcquireItem["when"] = "free",
): Promise<CommitEffects> {
  return sent(host, { acquire: objects.map((object) => ({ object, when, load: true })) });
}

async function readOne(host: TestHost, object: ObjectRef, key: string): Promise<Uint8Array | undefined> {
  return (await host.directory.read([{ object, key }]))[0];
}

function rangeOf(object: ObjectRef, range: Partial<StoredRange>): StoredRange {
  return { object, start: "", end: undefined, reverse: false, limit: 10_000, ...range };
}

async function listed(
  host: TestHost,
  object: ObjectRef,
  range: Partial<StoredRange> = {},
): Promise<readonly string[]> {
  const { entries, hasMore } = await host.directory.list(rangeOf(object, range));
  expect(hasMore).toBe(false);
  return entries.map(([key]) => key);
}

async function keysOf(page: Promise<StoredPage>): Promise<readonly [readonly string[], boolean]> {
  const { entries, hasMore } = await page;
  return [entries.map(([key]) => key), hasMore];
}

/** All of an object, page by page, as who lists it goes on behind the last key of each. */
async function paged(host: TestHost, object: ObjectRef, limit: number, reverse: boolean) {
  const found: (readonly [string, Uint8Array])[] = [];
  const pageBytes: number[] = [];
  for (let range = rangeOf(object, { limit, reverse }); ; ) {
    const { entries, hasMore } = await host.directory.list(range);
    found.push(...entries);
    pageBytes.push(entries.reduce((sum, [, value]) => sum + value.length, 0));
    const last = entries.at(-1)?.[0];
    if (!hasMore) break;
    if (last === undefined) throw new Error("a page that goes on is empty");
    range = reverse ? { ...range, end: last } : { ...range, start: `${last}\u0001` };
  }
  return {
    keys: found.map(([key]) => key),
    sizes: found.map(([, value]) => value.length),
    pages: pageBytes.length,
    bytesMax: Math.max(...pageBytes),
  };
}

function nameOf({ className, id }: ObjectRef) {
  return { className, id };
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function bytesOf(length: number, seed = 1): Uint8Array {
  return new Uint8Array(length).map((_, index) => index * 31 + (index >> 8) + seed);
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value && new TextDecoder().decode(value);
}

/** Quicker than `toEqual` over megabytes. */
function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}
