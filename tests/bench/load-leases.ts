import { createClient } from "@libsql/client/http";
import { connectDirectory } from "../../infra/lease/connect-directory.ts";
import type { Directory, DirectoryPosition } from "../../infra/lease/directory.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { converse, setupOf } from "./conversation.ts";
import type { LoadAnswer, LoadQuestion } from "./load-http.ts";

/** Acquisitions of fresh objects on a libSQL server, one batch after the other. */
export interface LeaseLoad {
  readonly url: string;
}

export interface LeaseQuestion extends LoadQuestion {
  /** `set`: our directory's commit, whose statements do not become more with the objects. `each`: one for each object. */
  readonly kind: "set" | "each";
  readonly objects: number;
}

const ttlMs = 10 * 60 * 1000;
const session = `bench-${process.pid}`;

/** The least that a safe acquisition must ask: the taker lives, and nobody alive has it (rule L2). */
const acquireOne = `
  INSERT INTO leases (class, id, session, epoch)
  SELECT :class, :id, :session, d.now FROM directory d
  WHERE EXISTS (SELECT 1 FROM sessions me WHERE me.session = :session AND me.ended = 0 AND me.expires_at > d.now)
  ON CONFLICT (class, id) DO UPDATE SET session = excluded.session, epoch = max(leases.epoch + 1, excluded.epoch)
  WHERE NOT EXISTS (
    SELECT 1 FROM sessions s, directory d
    WHERE s.session = leases.session AND s.ended = 0 AND s.expires_at > d.now)
  RETURNING session, epoch`;

class LeaseTaker {
  readonly #directory: Directory;
  readonly #client;
  #position: DirectoryPosition = { generation: "", counter: 0 };
  #slot = 0;
  #taken = 0;

  constructor(url: string) {
    this.#directory = connectDirectory({ url });
    this.#client = createClient({ url });
  }

  async open(): Promise<void> {
    const load = { objects: 0, objectsMax: 1, memoryUsedBytes: 0, memoryLimitBytes: 1 };
    const where = { region: "local", privateUrl: "http://127.0.0.1:1", publicUrl: "http://127.0.0.1:1" };
    const self = { session, hostId: "bench", classes: ["counter"], version: "bench", draining: false, load };
    const opened = await this.#directory.openSession({ ...self, ...where, ttlMs });
    this.#position = opened.position;
  }

  async run({ kind, objects, forMs }: LeaseQuestion): Promise<LoadAnswer> {
    const startMs = performance.now();
    let [operations, elapsedMs] = [0, 0];
    for (; performance.now() - startMs < forMs || operations === 0; operations += objects) {
      const fresh = Array.from({ length: objects }, () => objectRef("counter", `lease-${++this.#taken}`));
      const batchMs = performance.now();
      const won = kind === "set" ? await this.#takeAsSet(fresh) : await this.#takeEach(fresh);
      elapsedMs += performance.now() - batchMs;
      if (won !== objects) throw new Error(`${won} of ${objects} fresh objects were acquired.`);
    }
    return { operations, elapsedMs };
  }

  async #takeAsSet(objects: readonly ObjectRef[]): Promise<number> {
    const acquire = objects.map((object) => ({ object, when: "free" as const }));
    const slot = ++this.#slot;
    const commit = {
      session,
      slot,
      acquire,
      adopt: [],
      release: [],
      writes: [],
      move: [],
      seen: this.#position,
    };
    const answer = await this.#directory.commit(commit);
    if (answer.outcome !== "committed") throw new Error(`The commit's outcome is ${answer.outcome}.`);
    this.#position = answer.position;
    return Array.from(answer.leases.values()).filter((lease) => lease.session === session).length;
  }

  async #takeEach(objects: readonly ObjectRef[]): Promise<number> {
    const statements = objects.map(({ className, id }) => ({
      sql: acquireOne,
      args: { class: className, id, session },
    }));
    const results = await this.#client.batch(statements, "write");
    return results.filter(({ rows }) => rows[0]?.session === session).length;
  }
}

if (import.meta.main) {
  const taker = new LeaseTaker(setupOf<LeaseLoad>().url);
  await taker.open();
  converse<LeaseQuestion>({ session }, (question) => taker.run(question));
}
