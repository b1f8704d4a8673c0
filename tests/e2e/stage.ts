import { type Client, createClient } from "@libsql/client";
import { decodeRecord, decodeValue } from "../../infra/storage/storage-codec.ts";
import { HostProcess, type HostProcessOptions } from "../support/host-process.ts";
import { Sqld } from "../support/sqld.ts";

/** Short, so that an object of a lost host is soon elsewhere; and no shorter than a busy machine may let a host stand still. */
export const leaseTtlMs = 3_000;
const requestLimitMs = 20_000;

/** What an object's rows hold, read from the database itself. */
export interface StoredRows {
  readonly state: unknown;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Answer {
  /** 0: no answer at all. */
  readonly status: number;
  readonly code?: string;
  readonly owner?: string;
  readonly [member: string]: unknown;
}

/** That a session had an object, by the primary's clock, which is this machine's. */
export interface Tenure {
  readonly id: string;
  readonly session: string;
  readonly atMs: number;
}

export interface StoredSession {
  readonly hostId: string;
  readonly isEnded: boolean;
  /** Heard without a gap since then. */
  readonly steadySinceMs: number;
  readonly expiresAtMs: number;
  readonly ttlMs: number;
}

/** A libSQL server, hosts in processes of their own, and whatever else a test needs; `close` ends all of it. */
export class Stage {
  readonly sqld: Sqld;
  readonly #closing: (() => unknown)[] = [];
  readonly #client: Client;

  private constructor(sqld: Sqld) {
    this.sqld = sqld;
    this.#client = createClient({ url: sqld.httpUrl });
    this.#closing.push(
      () => sqld.stop(),
      () => this.#client.close(),
    );
  }

  static async open(): Promise<Stage> {
    return new Stage(await Sqld.start());
  }

  /** Ended with the stage, the last first. */
  onClose(close: () => unknown): void {
    this.#closing.push(close);
  }

  async host(region: string, options: Partial<HostProcessOptions> = {}): Promise<HostProcess> {
    const host = new HostProcess({
      ...{ region, directoryUrl: this.sqld.httpUrl, objectsFolder: "tests/e2e/objects", leaseTtlMs },
      ...options,
    });
    this.onClose(() => host.kill());
    await host.run();
    return host;
  }

  async stored(className: string, id: string): Promise<StoredRows> {
    const sql = "SELECT key, value FROM storage WHERE class = ? AND id = ? ORDER BY key";
    const { rows } = await this.#client.execute({ sql, args: [className, id] });
    const values: Record<string, unknown> = {};
    let state: unknown;
    for (const { key, value } of rows) {
      const bytes = new Uint8Array(value as ArrayBuffer); // the column is a blob
      if (key === "") ({ state } = decodeRecord(bytes));
      else values[String(key)] = decodeValue(bytes);
    }
    return { state, values };
  }

  /** Number of the last commit of a host's session, which is alive. */
  async lastCommit(host: HostProcess): Promise<number> {
    const sql = "SELECT last_commit FROM sessions WHERE host_id = ? AND ended = 0";
    const { rows } = await this.#client.execute({ sql, args: [host.id] });
    return Number(rows[0]?.last_commit);
  }

  /** Alarms of a class that are still to fire. */
  async alarmsLeft(className: string): Promise<number> {
    const sql = "SELECT count(*) AS count FROM alarms WHERE class = ? AND parked = 0";
    const { rows } = await this.#client.execute({ sql, args: [className] });
    return Number(rows[0]?.count);
  }

  /** From here on the database notes who has each object of a class, and until when: see `tenures`. Hosts have run by now. */
  async recordTenures(className: string): Promise<void> {
    const note = `BEGIN
      INSERT INTO tenures SELECT new.id, new.session, now FROM directory;
    END`;
    const ofClass = `new.class = '${className}'`;
    await this.#client.batch(
      [
        "CREATE TABLE tenures (id TEXT, session TEXT, at INTEGER)",
        `CREATE TRIGGER taken AFTER INSERT ON leases WHEN ${ofClass} ${note}`,
        `CREATE TRIGGER passed_on AFTER UPDATE OF session ON leases WHEN ${ofClass} AND new.session <> old.session ${note}`,
      ],
      "write",
    );
  }

  /** In the order in which they began, each with its object's id. Session `""`: it was given up. */
  async tenures(): Promise<readonly Tenure[]> {
    const { rows } = await this.#client.execute("SELECT id, session, at FROM tenures ORDER BY rowid");
    return rows.map(({ id, session, at }) => ({
      ...{ id: String(id), session: String(session), atMs: Number(at) },
    }));
  }

  /** All that there were, by their names. */
  async sessions(): Promise<ReadonlyMap<string, StoredSession>> {
    const { rows } = await this.#client.execute(
      "SELECT session, host_id, ended, expires_at, ttl_ms, coalesce(steady_since, opened_at) AS steady FROM sessions",
    );
    return new Map(
      rows.map(({ session, host_id, ended, expires_at, ttl_ms, steady }) => [
        String(session),
        {
          ...{ hostId: String(host_id), isEnded: ended !== 0, steadySinceMs: Number(steady) },
          ...{ expiresAtMs: Number(expires_at), ttlMs: Number(ttl_ms) },
        },
      ]),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }
}

export async function ask(
  host: HostProcess,
  path: string,
  method = "POST",
  limitMs = requestLimitMs,
  json?: object,
): Promise<Answer> {
  try {
    const signal = AbortSignal.timeout(limitMs);
    const content = json && { headers: { "content-type": "application/json" }, body: JSON.stringify(json) };
    const response = await fetch(host.url(path), { method, signal, ...content });
    return { ...(await response.json()), status: response.status };
  } catch {
    return { status: 0 };
  }
}
