import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { MessageProxy } from "../support/message-proxy.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { type Answer, ask, leaseTtlMs, Stage } from "./stage.ts";

const takeoverLimitMs = 15_000;
/** Of an owner that is to live. */
const longLeaseTtlMs = 9_000;
/** Of a call of the directory (`directoryDefaults`), after which the line sends its slot again. */
const commitLimitMs = 3_000;

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.open();
});
afterEach(() => stage.close());

/** A host that reaches the database through a proxy, and one that does not. */
async function hostsWithProxy(
  ttlMs = leaseTtlMs,
): Promise<{ owner: HostProcess; other: HostProcess; proxy: MessageProxy }> {
  const proxy = await MessageProxy.start(stage.sqld.port);
  stage.onClose(() => proxy.stop());
  const [owner, other] = await Promise.all([
    stage.host("iad", { directoryUrl: proxy.url, leaseTtlMs: ttlMs }),
    stage.host("ams", { leaseTtlMs: ttlMs }),
  ]);
  return { owner, other, proxy };
}

/** What handlers ask and are not answered before it is opened. */
class Gate {
  readonly #opened = Promise.withResolvers<void>();
  readonly #server = Bun.serve({
    ...{ port: 0, hostname: "127.0.0.1", idleTimeout: 0 },
    fetch: async () => {
      await this.#opened.promise;
      return new Response();
    },
  });

  constructor() {
    stage.onClose(() => this.#server.stop(true));
  }

  get query(): string {
    return `?after=${encodeURIComponent(this.#server.url.href)}`;
  }

  open(): void {
    this.#opened.resolve();
  }
}

/**
 * Makes `host` the owner, with one entry. A write whose outcome is not known, as where a machine that stands still has cost
 * the host its session, may have been applied: so it is looked for before it is sent again.
 */
async function startObject(host: HostProcess): Promise<void> {
  await until("the object has started", async () => {
    const { status, owner, entries } = await ask(host, "/ledger/x", "GET");
    if (status !== 200 || owner !== host.id) return false;
    if (Array.isArray(entries) && entries.includes("first")) return true;
    await ask(host, "/ledger/x/first");
    return false;
  });
}

/**
 * Writes through `host` until it owns the object. Resolves with the entries that it has written: the one that it has
 * acknowledged, and any whose outcome was not known and that the database has from this host.
 */
async function takeOver(host: HostProcess): Promise<string[]> {
  const unknown: string[] = [];
  let attempts = 0;
  const acknowledged = await until(
    `${host.id} takes the object`,
    async () => {
      const entry = `taken${++attempts}`;
      const { status, code, owner } = await ask(host, `/ledger/x/${entry}`);
      if (code === "outcome_unknown") unknown.push(entry);
      return status === 200 && owner === host.id && entry;
    },
    takeoverLimitMs,
  );
  const { values } = await stage.stored("ledger", "x");
  return [...unknown.filter((entry) => values[entry] === host.id), acknowledged];
}

async function acknowledge(host: HostProcess, entry: string, query = ""): Promise<Answer> {
  const answer = await ask(host, `/ledger/x/${entry}${query}`);
  expect(answer).toMatchObject({ status: 200, entry });
  return answer;
}

/** The object has these entries and no others: in its owner's memory, at whichever host one asks, and in the database. */
async function expectEntries(entries: readonly string[], hosts: readonly HostProcess[]): Promise<void> {
  for (const host of hosts) {
    const seen = await until(
      `${host.id} answers`,
      async () => {
        const answer = await ask(host, "/ledger/x", "GET");
        return answer.status === 200 && answer;
      },
      takeoverLimitMs,
    );
    expect(seen.entries).toEqual(entries);
    expect(Object.keys(Object(seen.stored)).sort()).toEqual([...entries].sort());
  }
  const { state, values } = await stage.stored("ledger", "x");
  expect(state).toEqual({ entries });
  expect(Object.keys(values).sort()).toEqual([...entries].sort());
}

describe("an owner that was frozen past its lease", () => {
  test("L3 L4 S1 writes nothing, answers nobody and tells its sockets nothing in its second life", async () => {
    const [owner, other] = await Promise.all([stage.host("iad"), stage.host("ams")]);
    await startObject(owner);
    const sockets = await Promise.all(
      [owner, other].map((host) => SocketClient.open(host.socketUrl("/ledger/x/live"))),
    );
    const listeners = async () => (await ask(owner, "/ledger/x", "GET")).listeners;
    await until("both are subscribed", async () => (await listeners()) === sockets.length);
    const [meanwhile, afterwards] = [new Gate(), new Gate()];
    const open = [
      ask(owner, `/ledger/x/late1${meanwhile.query}`),
      ask(other, `/ledger/x/late2${meanwhile.query}`),
      ask(owner, `/ledger/x/late3${afterwards.query}`),
    ];
    const begun = (socket: SocketClient) =>
      ["late1", "late2", "late3"].every((entry) => socket.heard.includes(entry));
    await until("their handlers run", () => sockets.every(begun));
    const heardBefore = sockets.map((socket) => socket.heard.length);
    owner.freeze();
    // These reach a process that stands still.
    for (const socket of sockets) socket.send("late4");
    const stuck = ask(owner, "/ledger/x/late5");
    meanwhile.open();
    const taken = await takeOver(other);
    await acknowledge(other, "second");
    owner.thaw();
    afterwards.open();

    for (const answer of await Promise.all(open)) {
      expect(answer.status).not.toBe(200);
      expect(answer.code ?? "no answer").toMatch(/^(outcome_unknown|no answer)$/);
    }
    const last = await stuck;
    // It may have been carried to the new owner, and by nobody else.
    if (last.status === 200) expect(last.owner).toBe(other.id);
    await until("it has a session again", async () => (await ask(owner, "/-/health", "GET")).status === 200);
    await acknowledge(owner, "third");
    const entries = ["first", ...taken, "second", ...(last.status === 200 ? ["late5"] : []), "third"];
    await expectEntries(entries, [owner, other]);
    for (const [index, socket] of sockets.entries()) {
      const after = socket.heard.slice(heardBefore[index]).map(String);
      expect(after.filter((text) => text.includes(owner.id))).toEqual([]);
      expect(after.filter((text) => text.startsWith("told"))).toEqual([]);
      socket.close();
    }
  }, 60_000);

  test("L4 L6 S4 its commit arrives after another host has taken the object, and changes nothing", async () => {
    const { owner, other, proxy } = await hostsWithProxy();
    await startObject(owner);
    const hold = proxy.hold("stale", "request");
    const open = ask(owner, "/ledger/x/stale");
    await until("the commit is on its way", () => hold.hasCaught);
    owner.freeze();
    const taken = await takeOver(other);
    const before = await stage.stored("ledger", "x");
    hold.release();
    await until("the database has answered it", () => hold.answersSince > 0);
    expect(await stage.stored("ledger", "x")).toEqual(before);
    owner.thaw();
    expect((await open).status).not.toBe(200);
    await expectEntries(["first", ...taken], [other, owner]);
    await acknowledge(other, "second");
    await expectEntries(["first", ...taken, "second"], [other, owner]);
  }, 60_000);

  for (const order of ["the answer, then the owner", "the owner, then the answer"] as const) {
    test(`L3 L6 S1 its commit had landed, and it was not told: the write is there once, nobody hears 200 (released: ${order})`, async () => {
      const { owner, other, proxy } = await hostsWithProxy();
      await startObject(owner);
      const hold = proxy.hold("landed", "answer");
      const open = ask(owner, "/ledger/x/landed");
      await until("the commit was answered", () => hold.hasCaught);
      owner.freeze();
      const taken = await takeOver(other);
      if (order === "the answer, then the owner") hold.release();
      owner.thaw();
      if (order === "the owner, then the answer") {
        await until(
          "it has a session again",
          async () => (await ask(owner, "/-/health", "GET")).status === 200,
        );
        hold.release();
      }
      expect((await open).status).not.toBe(200);
      await expectEntries(["first", "landed", ...taken], [other, owner]);
    }, 60_000);
  }
});

describe("a commit whose answer does not come, at an owner that lives", () => {
  test("L6 S5 its retry settles it with one answer; the first copy, let go after that and after later commits, does nothing", async () => {
    const { owner, proxy } = await hostsWithProxy(longLeaseTtlMs);
    await startObject(owner);
    const commits = await stage.lastCommit(owner);
    const hold = proxy.hold("slow", "request");
    const askedAtMs = performance.now();
    await acknowledge(owner, "slow", "?value=once");
    expect(performance.now() - askedAtMs).toBeGreaterThan(commitLimitMs - 100);
    expect(hold.hasCaught).toBe(true);
    expect(await stage.lastCommit(owner)).toBe(commits + 1);
    await acknowledge(owner, "slow", "?value=twice");
    await acknowledge(owner, "second", "?value=later");
    const before = await stage.stored("ledger", "x");
    hold.release();
    await until("the database has answered it", () => hold.answersSince > 0);
    expect(await stage.stored("ledger", "x")).toEqual(before);
    expect(before.values).toMatchObject({ slow: "twice", second: "later" });
    expect(await stage.lastCommit(owner)).toBe(commits + 3);
    await acknowledge(owner, "third");
    expect((await stage.stored("ledger", "x")).state).toEqual({
      entries: ["first", "slow", "slow", "second", "third"],
    });
  }, 60_000);

  for (const firstOut of ["first", "second"] as const) {
    test(`L6 S5 both copies on their way at once, the ${firstOut} let go before the other: applied once, one true answer`, async () => {
      const { owner, proxy } = await hostsWithProxy(longLeaseTtlMs);
      await startObject(owner);
      const commits = await stage.lastCommit(owner);
      const copies = { first: proxy.hold("slow", "request"), second: proxy.hold("slow", "request") };
      const open = ask(owner, "/ledger/x/slow");
      await until("both copies are held", () => copies.first.hasCaught && copies.second.hasCaught);
      const early = copies[firstOut];
      const late = firstOut === "first" ? copies.second : copies.first;
      early.release();
      await until("the database has answered it", () => early.answersSince > 0);
      late.release();
      expect(await open).toMatchObject({ status: 200, entry: "slow" });
      expect(await stage.lastCommit(owner)).toBe(commits + 1);
      await acknowledge(owner, "after");
      expect(await stage.lastCommit(owner)).toBe(commits + 2);
      await expectEntries(["first", "slow", "after"], [owner]);
    }, 60_000);
  }

  test("L1 L6 S5 its session ends before it is settled: the caller is told that it is not known, and the copy of the old session does nothing", async () => {
    const { owner, proxy } = await hostsWithProxy();
    await startObject(owner);
    const hold = proxy.hold("slow", "request");
    const open = ask(owner, "/ledger/x/slow?value=once");
    await until("the commit is on its way", () => hold.hasCaught);
    proxy.shut();
    expect(await open).toMatchObject({ status: 502, code: "outcome_unknown" });
    proxy.open();
    // Nobody took the object, so its memory goes on under the next session, and what was not confirmed is written again.
    await until(
      "it goes on",
      async () => (await ask(owner, "/ledger/x/slow2?value=later")).status === 200,
      takeoverLimitMs,
    );
    const before = await stage.stored("ledger", "x");
    expect(before.values).toMatchObject({ first: owner.id, slow: "once", slow2: "later" });
    hold.release();
    await until("the database has answered it", () => hold.answersSince > 0);
    expect(await stage.stored("ledger", "x")).toEqual(before);
  }, 60_000);
});
