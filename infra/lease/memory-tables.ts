import { nanoid } from "nanoid";
import type { HostRecord, SessionEnd } from "./directory.ts";
import { noStoredRows, type StoredRows } from "./memory-stored-objects.ts";
import type { ObjectName } from "./stored-objects.ts";

/** What `MemoryDirectory` remembers: the tables of `directory-schema.ts` as maps. */
export interface Data {
  generation: string;
  former: string;
  counter: number;
  quarantineUntil: number;
  now: number;
  /** By how much `now` was ahead of the clock at the latest write. */
  ahead: number;
  readonly sessions: Map<string, SessionRow>;
  readonly leases: Map<string, LeaseRow>;
  readonly stored: StoredRows;
}

interface LeaseRow {
  session: string;
  epoch: number;
  former: string;
}

export interface SessionRow {
  host: HostRecord;
  ttlMs: number;
  readonly openedAt: number;
  steadySince: number;
  expiresAt: number;
  counter: number;
  lastCommit: number;
  lastOutcome: "committed" | "quarantined" | "draining";
  /** Keys of the objects whose writes its last commit left out, where that moved some as well. */
  lastRefused: ReadonlySet<string>;
  ended: SessionEnd | undefined;
}

export function keyOf({ className, id }: ObjectName): string {
  return `${className}/${encodeURIComponent(id)}`;
}

export function emptyData(): Data {
  const counters = { counter: 0, quarantineUntil: 0, now: 0, ahead: 0 };
  return {
    generation: nanoid(),
    former: "",
    ...counters,
    sessions: new Map(),
    leases: new Map(),
    stored: noStoredRows(),
  };
}
