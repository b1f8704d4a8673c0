import type { ViolationKind } from "../checks/violation.ts";

/** A text of a file, and what stands in its place. */
export type Change = readonly [from: string, to: string];

/** What somebody could have got wrong, which the simulation has to find. */
export interface DeliberateBug {
  readonly name: string;
  /** The rule that it breaks, or the folder's letter. */
  readonly rule: string;
  /** The checks that are there for what it breaks: only what one of them says counts as a find. */
  readonly foundBy: readonly ViolationKind[];
  /** Where a search for it begins: about where one has found it. */
  readonly seed: number;
  readonly files: readonly (readonly [file: string, ...changes: Change[]])[];
}

const statements = "infra/lease/directory-statements.ts";
const writes = "infra/lease/write-statements.ts";

/**
 * The checkers can fail: each of these is found. A change is of the product's own text, so that the product needs no door for it; where
 * that text is no longer there, `apply-bug.ts` says so.
 */
export const deliberateBugs: readonly DeliberateBug[] = [
  {
    name: "writes are not fenced",
    rule: "L4",
    foundBy: ["fencing"],
    seed: 4,
    files: [
      [writes, ["\n    AND l.session = :session AND l.epoch = w.value ->> 2`;", "`;"]],
      [
        statements,
        [
          "me.ended = 0 AND me.expires_at > d.now AND me.last_commit = :slot - 1\n      AND d.generation",
          "me.last_commit = :slot - 1\n      AND d.generation",
        ],
        [
          "AND ended = 0 AND last_commit = :slot - 1 AND counter >= :counter AND (\n    SELECT generation = :generation AND sessions.expires_at > t.now FROM",
          "AND last_commit = :slot - 1 AND counter >= :counter AND (\n    SELECT generation = :generation FROM",
        ],
      ],
    ],
  },
  {
    name: "a slot is compared with <=",
    rule: "L6",
    foundBy: ["one copy", "durability"],
    seed: 15,
    files: [
      [
        statements,
        [
          "me.last_commit = :slot - 1\n      AND d.generation",
          "me.last_commit <= :slot\n      AND d.generation",
        ],
      ],
    ],
  },
  {
    name: "slots are not compared",
    rule: "L6",
    foundBy: ["one copy", "durability"],
    seed: 15,
    files: [
      [
        statements,
        ["AND me.last_commit = :slot - 1\n      AND d.generation", "AND d.generation"],
        ["AND ended = 0 AND last_commit = :slot - 1 AND", "AND ended = 0 AND"],
      ],
    ],
  },
  {
    name: "validity is counted from the answer",
    rule: "L3",
    foundBy: ["one copy"],
    seed: 8,
    files: [
      [
        "infra/lease/session-keeper.ts",
        [
          "if (!life.extend(sentAt)) return false;",
          "if (!life.extend(sendTime(this.#options.clock))) return false;",
        ],
      ],
    ],
  },
  {
    name: "the margin is added",
    rule: "L3",
    foundBy: ["one copy"],
    seed: 8,
    files: [
      [
        "infra/lease/session-keeper.ts",
        ["const validMs = ttlMs - marginMs;", "const validMs = ttlMs + marginMs;"],
      ],
    ],
  },
  {
    name: "validity is a timer",
    rule: "L3",
    foundBy: ["one copy"],
    seed: 3,
    files: [["infra/lease/session-life.ts", ["if (this.remainingMs() > 0) return true;", "return true;"]]],
  },
  {
    name: "what lives is taken",
    rule: "L2",
    foundBy: ["one copy"],
    seed: 1,
    files: [[statements, [" WHERE leases.session = :session OR NOT $" + "{ownerLives}`;", " WHERE true`;"]]],
  },
  {
    name: "a move forgets the epoch",
    rule: "L7",
    foundBy: ["epochs"],
    seed: 1,
    files: [
      [
        statements,
        [
          "SET session = m.value ->> 3, epoch = max(leases.epoch + 1, d.now), former",
          "SET session = m.value ->> 3, former",
        ],
      ],
    ],
  },
  {
    name: "an acquisition forgets the epoch",
    rule: "L2",
    foundBy: ["epochs"],
    seed: 1,
    files: [
      [
        statements,
        [
          "session = excluded.session, epoch = max(leases.epoch + 1, excluded.epoch), former",
          "session = excluded.session, former",
        ],
      ],
    ],
  },
  {
    name: "adoption does not compare",
    rule: "L1",
    foundBy: ["one copy"],
    seed: 16,
    files: [[statements, ["\n    AND leases.session = a.value ->> 2 AND leases.epoch = a.value ->> 3", ""]]],
  },
  {
    name: "an answer does not wait for its write",
    rule: "H",
    foundBy: ["durability"],
    seed: 4,
    files: [
      [
        "infra/host/output-gate.ts",
        ["return upTo <= changes.durableUpTo;", "return changes !== undefined && upTo >= 0;"],
      ],
    ],
  },
  {
    name: "a commit without an answer is taken for done",
    rule: "L6",
    foundBy: ["durability"],
    seed: 5,
    files: [
      [
        "infra/lease/lease-line.ts",
        [
          "const answer = await directory.commit({ ...commit, seen: life.seen });",
          `const done = { leases: new Map(), loaded: new Map(), refused: new Set(), position: life.seen, nowMs: 0 };
        const answer = await directory
          .commit({ ...commit, seen: life.seen })
          .catch(() => ({ outcome: "committed", ...done }) as never);`,
        ],
      ],
    ],
  },
  {
    name: "the target does not wait for the outcome of a move",
    rule: "L7",
    foundBy: ["one copy"],
    seed: 1,
    files: [
      [
        "infra/host/moves-in.ts",
        ["this.#package = bytes;\n  }", "this.#package = bytes;\n    this.go(this.#offer.epoch + 1);\n  }"],
      ],
    ],
  },
  {
    name: "a lost owner is taken for one that refused",
    rule: "E",
    foundBy: ["durability"],
    seed: 4,
    files: [
      [
        "infra/edge/forward-client.ts",
        [
          'if (phase === "offered" && isSafeMethod(method)) {',
          "if (method !== phase || isSafeMethod(method)) {",
        ],
      ],
    ],
  },
  {
    name: "a listener resumes one too late",
    rule: "T5",
    foundBy: ["topics"],
    seed: 1,
    files: [
      [
        "infra/topics/topic-history.ts",
        [
          "return { position: since, recovered: true, missed: this.#after(offset) };",
          "return { position: since, recovered: true, missed: this.#after(offset + 1) };",
        ],
      ],
    ],
  },
  {
    name: "some messages are not stored",
    rule: "T6",
    foundBy: ["topics"],
    seed: 1,
    files: [
      [
        writes,
        [
          " WHERE $" + "{mine}\n  ON CONFLICT (class, id, topic, place)",
          " WHERE $" + "{mine} AND w.value ->> 6 % 3 > 0\n  ON CONFLICT (class, id, topic, place)",
        ],
      ],
    ],
  },
  {
    name: "a transaction does not wait for its turn",
    rule: "S",
    foundBy: ["linearizability"],
    seed: 4,
    files: [
      [
        "infra/storage/storage-line.ts",
        [
          "this.#numbered(caller, () => this.#inTurn(token, () => this.#hold(token, run, true)));",
          "this.#numbered(caller, () => (token === caller ? this.#hold(token, run, true) : settledBy(run)));",
        ],
      ],
    ],
  },
  {
    name: "nobody looks for overdue alarms",
    rule: "A5",
    foundBy: ["alarms"],
    seed: 1,
    files: [
      [
        "infra/storage/alarm-sweeper.ts",
        ["    this.#wakeWaiting();\n  }\n\n  async #ask", "  }\n\n  async #ask"],
      ],
    ],
  },
  {
    name: "an alarm is removed as its handler begins",
    rule: "A2",
    foundBy: ["alarms"],
    seed: 6,
    files: [
      [
        "infra/storage/alarm-book.ts",
        ["      await this.#setup.fire({ name", "      settled();\n      await this.#setup.fire({ name"],
      ],
    ],
  },
  {
    name: "an alarm rings with those that are due soon",
    rule: "A1",
    foundBy: ["alarms"],
    seed: 1,
    files: [
      ["infra/storage/alarm-book.ts", ["entry.fireAtMs <= nowMs,", "entry.fireAtMs <= nowMs + 4_000,"]],
    ],
  },
  {
    name: "an object wakes twice at once",
    rule: "H9",
    foundBy: ["epochs"],
    seed: 180,
    files: [
      [
        "infra/host/object-table.ts",
        ["    this.starting.set(key, start);\n    const begun", "    const begun"],
        ["    resolve(begun.finally(", "    this.starting.set(key, start);\n    resolve(begun.finally("],
        // The second line of defence: what has woken meanwhile is over as a sleeper.
        [" || sleeper.isOver) throw", ") throw"],
      ],
    ],
  },
];
