import type { ObjectRef } from "../lib/object-ref.ts";
import { versionRange } from "../lib/version-range.ts";
import type { Commit, DirectoryPosition, HostRecord, Lease, SessionEnd } from "./directory.ts";
import { schemaVersion } from "./directory-schema.ts";
import { numberOf, type SqlRow, type SqlRows, type SqlValue, textOf } from "./sql-connection.ts";

/** What the statements of `directory-statements.ts` answer. `libsql-arguments.ts` is the way there. */

export interface State {
  readonly position: DirectoryPosition;
  readonly quarantineMs: number;
  readonly nowMs: number;
  readonly isMissing: boolean;
  readonly ended: number;
  readonly isExpired: boolean;
  readonly lastCommit: number;
  readonly lastOutcome: string;
  /** What a build must know (L12). */
  readonly requiredSchema: number;
}

/** A position is the generation of the directory with the number on the session's own row. */
export function stateOf(rows: SqlRows | undefined): State {
  const row = rows?.[0];
  const generation = textOf(row, "generation");
  const quarantineMs = numberOf(row, "quarantine_ms");
  const nowMs = numberOf(row, "now");
  const requiredSchema = numberOf(row, "required_schema");
  if (row?.session == null) {
    const position = { generation, counter: 0 };
    return {
      position,
      quarantineMs,
      nowMs,
      isMissing: true,
      ended: 0,
      isExpired: false,
      lastCommit: 0,
      lastOutcome: "",
      requiredSchema,
    };
  }
  return {
    position: { generation, counter: numberOf(row, "counter") },
    quarantineMs,
    nowMs,
    isMissing: false,
    ended: numberOf(row, "ended"),
    isExpired: numberOf(row, "expires_at") <= nowMs,
    lastCommit: numberOf(row, "last_commit"),
    lastOutcome: textOf(row, "last_outcome"),
    requiredSchema,
  };
}

export function endOf(state: State, seen: DirectoryPosition): SessionEnd | undefined {
  if (state.requiredSchema > schemaVersion) return "schema_too_new";
  if (state.position.generation !== seen.generation || state.ended === 3) return "directory_lost_memory";
  if (state.isMissing) return "missing";
  if (state.ended === 1) return "ended";
  return state.ended === 2 || state.isExpired ? "expired" : undefined;
}

export function refusedOf(commit: Commit, row: SqlRow | undefined): ReadonlySet<string> {
  const refused: readonly number[] = JSON.parse(textOf(row, "refused")); // written by refusedLeases
  return new Set(refused.map((index) => commit.writes[index]?.object.key ?? ""));
}

/** Written by `readLeases`. */
type LeaseRow = readonly [asked: number, session: string, epoch: number, alive: 0 | 1, former: string];

export function leasesOf(asked: readonly ObjectRef[], rows: SqlRows = []): ReadonlyMap<string, Lease> {
  const answers: readonly LeaseRow[] = JSON.parse(textOf(rows[0], "leases"));
  return new Map(
    answers.map(([index, session, epoch, alive, former]) => {
      const lease = { session, epoch, alive: alive === 1, former };
      return [keyAt(asked, index), lease];
    }),
  );
}

export function keyAt(asked: readonly ObjectRef[], index: number): string {
  const object = asked[index];
  if (object === undefined)
    throw new RangeError("The directory answered about an object that was not asked for.");
  return object.key;
}

export function hostsOf(rows: SqlRows = []): readonly HostRecord[] {
  return rows.map((row) => ({
    session: textOf(row, "session"),
    hostId: textOf(row, "host_id"),
    region: textOf(row, "region"),
    privateUrl: textOf(row, "private_url"),
    publicUrl: textOf(row, "public_url"),
    classes: JSON.parse(textOf(row, "classes")), // written by liveArgs
    version: textOf(row, "version"),
    draining: numberOf(row, "draining") === 1,
    load: JSON.parse(textOf(row, "load")), // written by liveArgs
    ...linkVersionsOf(row.link_versions),
  }));
}

/** Written by `sessionArgs`; NULL where a host of an older version has opened the session. */
function linkVersionsOf(value: SqlValue | undefined): Pick<HostRecord, "linkVersions"> {
  if (typeof value !== "string") return {};
  const [oldest, newest]: readonly unknown[] = JSON.parse(value);
  const linkVersions = versionRange(oldest, newest);
  return linkVersions === undefined ? {} : { linkVersions };
}
