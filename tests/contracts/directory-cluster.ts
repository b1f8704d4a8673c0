import { expect } from "bun:test";
import type {
  Commit,
  Directory,
  DirectoryPosition,
  Lease,
  NewSession,
  OpenedSession,
  RenewalAnswer,
} from "../../infra/lease/directory.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { newProcessId, processOfSession, sessionId } from "../../infra/lease/session-id.ts";
import { until } from "../support/wait.ts";

/** One way to have a directory, and what a test may do to it. */
export interface DirectoryRig {
  /** As one more host would reach it; `anew`: not over connections that another host has left. */
  connect(anew?: "anew"): Directory;
  /** What a rig that shares one connection among hosts does not do. */
  disconnect(directory: Directory): Promise<void>;
  /**
   * Keeps what the directory knows now. The result puts that back, under everybody; connections made before may be dead.
   * Absent where the thing cannot be done, with the reason in the rig.
   */
  readonly backup?: () => Promise<() => Promise<void>>;
  /** The clock is set back by that much: the directory's time is ahead of it. Absent where nothing reaches behind the port. */
  readonly setClockBack?: (byMs: number) => Promise<void>;
  /** The clock is set on by that much, while sessions are open: all that the directory knows is so much longer ago. */
  readonly setClockOn?: (byMs: number) => Promise<void>;
  /** An empty directory from here on. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Of a host that is alive for as long as a schedule lasts, without being renewed, however slow the machine is. */
const longTtlMs = 60_000;
/** Of a host that is to expire, from when it has done what it had to do. */
export const lastTtlMs = 100;
/** The shortest lease time that schedules count in, and how many times as long as one of everything it is. */
const ttlMsMin = 400;
const ttlPerRehearsal = 4;

export const idle = { objects: 0, objectsMax: 10, memoryUsedBytes: 0, memoryLimitBytes: 1 };
let names = 0;

/** The hosts of one schedule. */
export class Cluster {
  readonly #rig: DirectoryRig;
  readonly #directories: Directory[] = [];
  readonly #hosts: TestHost[] = [];

  constructor(rig: DirectoryRig) {
    this.#rig = rig;
  }

  /**
   * A lease time for schedules that must do something before a session expires and then wait until it has: several times
   * as long as what they do takes here and now, done once to see. Who forgets opens all connections anew.
   */
  async measuredTtlMs(): Promise<number> {
    const startMs = performance.now();
    const host = await this.#opened(this.#connect("anew"));
    await host.acquire(newObject());
    await host.renew();
    await this.#rig.backup?.();
    await host.directory.endSession(host.session);
    return Math.max(ttlMsMin, Math.ceil(ttlPerRehearsal * (performance.now() - startMs)));
  }

  host(hostId?: string, previous?: TestHost, ttlMs?: number): Promise<TestHost> {
    return this.#opened(this.#connect(), hostId, previous, ttlMs);
  }

  async #opened(
    directory: Directory,
    hostId = `host-${names++}`,
    previous?: TestHost,
    ttlMs = longTtlMs,
  ): Promise<TestHost> {
    const host = new TestHost(directory, ttlMs, hostId, previous);
    await host.open();
    this.#hosts.push(host);
    return host;
  }

  /** Forgetting may cut every connection; the hosts reach the directory again on new ones. */
  async backup(): Promise<() => Promise<void>> {
    if (this.#rig.backup === undefined) throw new Error("this directory cannot be put back");
    const restore = await this.#rig.backup();
    return async () => {
      await this.close();
      await restore();
      for (const host of this.#hosts) host.directory = this.#connect();
    };
  }

  /** Before any host has opened a session. */
  async setClockBack(byMs: number): Promise<void> {
    if (this.#rig.setClockBack === undefined) throw new Error("the clock of this directory cannot be set");
    await this.#rig.setClockBack(byMs);
  }

  async setClockOn(byMs: number): Promise<void> {
    if (this.#rig.setClockOn === undefined) throw new Error("the clock of this directory cannot be set");
    await this.#rig.setClockOn(byMs);
  }

  /** `host` is heard for the last time. Resolves when it has expired at the directory, while `witness` stays alive. */
  async expire(host: TestHost, witness: TestHost): Promise<void> {
    await host.renewFor(lastTtlMs);
    await until(
      `session ${host.session} expires`,
      async () => !(await witness.hosts()).includes(host.session),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#directories.splice(0).map((directory) => this.#rig.disconnect(directory)));
  }

  #connect(anew?: "anew"): Directory {
    const directory = this.#rig.connect(anew);
    this.#directories.push(directory);
    return directory;
  }
}

/** One session, driven by hand: nothing is renewed or sent unless the schedule says so. */
export class TestHost {
  directory: Directory;
  readonly hostId: string;
  #ttlMs: number;
  readonly session: string;
  readonly #previous: TestHost | undefined;
  facts = { draining: false, classes: ["room"], load: idle };
  seen: DirectoryPosition = { generation: "", counter: 0 };
  opened: OpenedSession = { position: this.seen, hosts: [], quarantineMs: 0, nowMs: 0 };
  openedAtMs = 0;
  #slot = 1;

  constructor(directory: Directory, ttlMs: number, hostId: string, previous: TestHost | undefined) {
    this.directory = directory;
    this.#ttlMs = ttlMs;
    this.hostId = hostId;
    this.#previous = previous;
    this.session = previous ? sessionId(processOfSession(previous.session), 2) : sessionId(newProcessId(), 1);
  }

  async open(): Promise<OpenedSession> {
    this.openedAtMs = performance.now();
    this.opened = await this.directory.openSession(this.#newSession());
    this.seen = this.opened.position;
    return this.opened;
  }

  async renew(): Promise<RenewalAnswer> {
    const answer = await this.directory.renew({
      ...this.facts,
      session: this.session,
      ttlMs: this.#ttlMs,
      seen: this.seen,
    });
    if (answer.alive) this.seen = answer.position;
    return answer;
  }

  /** Has another lease time from now on. */
  async renewFor(ttlMs: number): Promise<void> {
    this.#ttlMs = ttlMs;
    expect((await this.renew()).alive).toBe(true);
  }

  async hosts(): Promise<readonly string[]> {
    const answer = await this.renew();
    if (!answer.alive) throw new Error(`the witness is ${answer.reason}`);
    return answer.hosts.map((host) => host.session);
  }

  /** It is heard for the last time. Resolves when it has expired, and nobody has said so. */
  async expireUnseen(ttlMs = lastTtlMs): Promise<void> {
    await this.renewFor(ttlMs);
    await until(`session ${this.session} has expired`, async () => !(await this.peekAlive()));
  }

  /** Asks through a session of nobody's, so that this one is neither renewed nor buried. */
  async peekAlive(): Promise<boolean> {
    const peek = crypto.randomUUID();
    const { hosts } = await this.directory.openSession({ ...this.#newSession(), session: peek });
    await this.directory.endSession(peek);
    return hosts.some((host) => host.session === this.session);
  }

  next(parts: Partial<Commit>): Commit {
    const nothing = { acquire: [], adopt: [], release: [], move: [], writes: [] };
    return { session: this.session, slot: this.#slot, ...nothing, ...parts, seen: this.seen };
  }

  async send(parts: Partial<Commit>) {
    const answer = await this.directory.commit(this.next(parts));
    if (answer.outcome === "session_over") return answer;
    this.#slot += 1;
    this.seen = answer.position;
    return answer;
  }

  async settle(parts: Partial<Commit>): Promise<ReadonlyMap<string, Lease>> {
    const answer = await this.send(parts);
    if (answer.outcome !== "committed") throw new Error(`the commit was ${answer.outcome}`);
    return answer.leases;
  }

  commit(parts: Partial<Commit>): Promise<ReadonlyMap<string, Lease>> {
    return this.settle(this.next(parts));
  }

  acquire(...objects: readonly ObjectRef[]): Promise<ReadonlyMap<string, Lease>> {
    return this.commit({ acquire: objects.map((object) => ({ object, when: "free" })) });
  }

  /** Renews and asks until the quarantine is over. */
  acquireOnceAllowed(object: ObjectRef): Promise<{ readonly lease: Lease; readonly atMs: number }> {
    return until(`${object.key} may be taken`, async () => {
      expect((await this.renew()).alive).toBe(true);
      const answer = await this.send({ acquire: [{ object, when: "free" }] });
      if (answer.outcome !== "committed") return undefined;
      return { lease: wonBy(this, answer.leases, object), atMs: performance.now() };
    });
  }

  async verify(object: ObjectRef, epoch: number): Promise<boolean> {
    return (await this.directory.verify(this.session, [{ object, epoch }])).length === 0;
  }

  #newSession(): NewSession {
    const urls = { privateUrl: "http://private", publicUrl: "http://public" };
    const host = {
      session: this.session,
      hostId: this.hostId,
      region: "iad",
      version: "1",
      ttlMs: this.#ttlMs,
      ...urls,
      ...this.facts,
    };
    const previous = this.#previous;
    return previous === undefined
      ? host
      : { ...host, previous: { session: previous.session, seen: previous.seen } };
  }
}

export function newObject(): ObjectRef {
  return objectRef("room", `object-${names++}`);
}

/** The one lease of the answer, or that of `object`, which `host` must hold. */
export function wonBy(host: TestHost, leases: ReadonlyMap<string, Lease>, object?: ObjectRef): Lease {
  const lease = object === undefined ? leases.values().next().value : leases.get(object.key);
  expect(lease?.session).toBe(host.session);
  if (lease === undefined) throw new Error("the answer has no such lease");
  return lease;
}
