import { expect, test } from "bun:test";
import { callWaitMaxMs, type GateVisitor, InputGate } from "../../infra/host/input-gate.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { chainFrom, WaitingCalls } from "../../infra/host/waiting-calls.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const visitor = (chain: readonly string[] = []): GateVisitor => ({ objectKey: "box/a", chain });

test("who finds the gate free enters at once, without a promise", () => {
  expect(new InputGate(systemClock, new WaitingCalls()).enter(visitor(), true)).toBeUndefined();
});

test("H4 who waits enters in the order of arrival, one at a time", async () => {
  const gate = new InputGate(systemClock, new WaitingCalls());
  const [first, second, third] = [visitor(), visitor(), visitor()];
  const inside: string[] = [];
  gate.enter(first, true);
  const entered = [
    Promise.resolve(gate.enter(second, true)).then(() => inside.push("second")),
    Promise.resolve(gate.enter(third, true)).then(() => inside.push("third")),
  ];
  gate.leave(first);
  await entered[0];
  expect(inside).toEqual(["second"]);
  gate.leave(second);
  await entered[1];
  expect(inside).toEqual(["second", "third"]);
  gate.leave(third);
  expect(gate.enter(visitor(), true)).toBeUndefined();
});

test("leaving without being inside lets nobody in", async () => {
  const gate = new InputGate(systemClock, new WaitingCalls());
  gate.enter(visitor(), true);
  let isInside = false;
  const waiting = visitor();
  const entered = Promise.resolve(gate.enter(waiting, true)).then(() => {
    isInside = true;
  });
  gate.leave(waiting);
  gate.leave(visitor());
  await Promise.resolve();
  expect(isInside).toBe(false);
  gate.close(new StatefulError("not_owner", "stopped"));
  await expect(entered).rejects.toThrow("stopped");
});

test("H4 a call that comes back to an object which waits for it is refused at once", () => {
  const gate = new InputGate(systemClock, new WaitingCalls());
  gate.enter(visitor(), true);
  expect(() => gate.enter(visitor(["box/a", "box/b"]), true)).toThrow(
    expect.objectContaining({
      code: "call_cycle",
      message: expect.stringContaining("box/a → box/b → box/a"),
    }),
  );
});

test("H4 objects whose calls would wait for each other are told at once, however long the way round", () => {
  const calls = new WaitingCalls();
  const keys = ["box/a", "box/b", "box/c", "box/d"];
  const gates = keys.map(() => new InputGate(systemClock, calls));
  // Each is busy with an event of its own …
  for (const [n, objectKey] of keys.entries()) gates[n]?.enter({ objectKey, chain: [] }, true);
  // … and calls the next. The last closes the circle.
  const call = (n: number, objectKey: string) =>
    gates[n]?.enter({ objectKey, chain: [keys[n - 1] ?? "box/d"] }, true);
  for (const n of [1, 2, 3]) expect(call(n, keys[n] ?? "")).toBeInstanceOf(Promise);
  expect(() => call(0, "box/a")).toThrow(
    expect.objectContaining({
      code: "call_cycle",
      message: expect.stringContaining("box/d → box/a → box/b → box/c → box/d"),
    }),
  );
});

test("H4 a call that comes back to the caller of its caller, by way of another's call, is told as well", () => {
  const calls = new WaitingCalls();
  const [a, c] = [new InputGate(systemClock, calls), new InputGate(systemClock, calls)];
  // An event of a has called b, which lets many in; another is busy at c, has called d, and that calls a.
  a.enter({ objectKey: "box/a", chain: [] }, true);
  c.enter({ objectKey: "box/c", chain: [] }, true);
  expect(a.enter({ objectKey: "box/a", chain: ["box/c", "box/d"] }, true)).toBeInstanceOf(Promise);
  expect(() => c.enter({ objectKey: "box/c", chain: ["box/a", "box/b"] }, true)).toThrow(
    expect.objectContaining({ code: "call_cycle" }),
  );
});

test("H4 calls that wait for one who waits for nobody of them wait on", () => {
  const calls = new WaitingCalls();
  const [a, b] = [new InputGate(systemClock, calls), new InputGate(systemClock, calls)];
  a.enter({ objectKey: "box/a", chain: [] }, true);
  b.enter({ objectKey: "box/b", chain: ["box/x"] }, true);
  expect(b.enter({ objectKey: "box/b", chain: ["box/a"] }, true)).toBeInstanceOf(Promise);
  // Not of the event that is inside at b: that one has come from x.
  expect(a.enter({ objectKey: "box/a", chain: ["box/b"] }, true)).toBeInstanceOf(Promise);
});

test("H4 events of one object are told apart: what another of them waits for is no circle", async () => {
  const calls = new WaitingCalls();
  const [a, b] = [new InputGate(systemClock, calls), new InputGate(systemClock, calls)];
  const event = (objectKey: string) => ({ objectKey, chain: [] });
  // One event of a has called b without waiting for that, and has left; another is inside since.
  const [first, second, ofB] = [event("box/a"), event("box/a"), event("box/b")];
  a.enter(second, true);
  // b is busy with an event that waits for a, which will be free: b as well.
  b.enter(ofB, true);
  const callsA = Promise.resolve(a.enter({ objectKey: "box/a", chain: chainFrom(ofB) }, true));
  const callsB = b.enter({ objectKey: "box/b", chain: chainFrom(first) }, true);
  expect(callsB).toBeInstanceOf(Promise);
  // The one that is inside would wait for itself.
  expect(() => b.enter({ objectKey: "box/b", chain: chainFrom(second) }, true)).toThrow(
    expect.objectContaining({ code: "call_cycle" }),
  );
  a.leave(second);
  await callsA;
  b.leave(ofB);
  await callsB;
});

test("H4 the calls that are looked at for one are bounded, also where many wait for one object", () => {
  const calls = new WaitingCalls();
  let looked = 0;
  const holder = () => {
    looked += 1;
    return inside;
  };
  const inside = { objectKey: "box/b", chain: [] };
  for (let n = 0; n < 1000; n += 1)
    calls.add({ visitor: { objectKey: `box/${n}`, chain: ["box/b"] }, holder });
  expect(calls.wayBack({ objectKey: "box/b", chain: ["box/a"] }, inside)).toBeUndefined();
  expect(looked).toBe(256);
});

test("H4 a call waits for its turn for a while and no longer; whoever is no call waits on", async () => {
  const clock = new VirtualClock();
  const gate = new InputGate(clock, new WaitingCalls());
  const inside = visitor();
  gate.enter(inside, true);
  const call = Promise.resolve(gate.enter(visitor(["box/b"]), true)).catch((error) => error);
  let hasEntered = false;
  const request = Promise.resolve(gate.enter(visitor(), true)).then(() => {
    hasEntered = true;
  });
  await clock.advance(callWaitMaxMs);
  expect(await call).toMatchObject({ code: "queue_full", retryable: true });
  expect(hasEntered).toBe(false);
  gate.leave(inside);
  await request;
  expect(clock.timersLeft).toBe(0);
});

test("H4 a call that has its turn in time leaves no timer behind", async () => {
  const clock = new VirtualClock();
  const gate = new InputGate(clock, new WaitingCalls());
  const inside = visitor();
  gate.enter(inside, true);
  const call = Promise.resolve(gate.enter(visitor(["box/b"]), true));
  gate.leave(inside);
  await call;
  expect(clock.timersLeft).toBe(0);
});

test("a chain through other objects only waits like anyone else", () => {
  const gate = new InputGate(systemClock, new WaitingCalls());
  gate.enter(visitor(), true);
  expect(gate.enter(visitor(["box/b", "box/c"]), true)).toBeInstanceOf(Promise);
});

test("a closed gate refuses who waits and who comes later, with the first cause", async () => {
  const gate = new InputGate(systemClock, new WaitingCalls());
  gate.enter(visitor(), true);
  const waiting = gate.enter(visitor(), true);
  gate.close(new StatefulError("session_over", "first"));
  gate.close(new StatefulError("not_owner", "second"));
  await expect(waiting).rejects.toThrow("first");
  expect(() => gate.enter(visitor(), true)).toThrow("first");
});

// -- locked by storage

/** A gate whose turns a test counts. */
class Turns {
  readonly inside: string[] = [];
  readonly #due: (() => void)[] = [];
  readonly gate = new InputGate(
    { ...systemClock, nextTurn: (callback) => void this.#due.push(callback) },
    new WaitingCalls(),
  );

  enter(name: string, holds = false, who = visitor()): GateVisitor {
    const entered = this.gate.enter(who, holds);
    if (entered === undefined) this.inside.push(name);
    else
      void entered.then(
        () => this.inside.push(name),
        ({ code }) => this.inside.push(`${name}: ${code}`),
      );
    return who;
  }

  async take(): Promise<string[]> {
    await Promise.resolve();
    await Promise.resolve();
    return this.inside.splice(0);
  }

  async turn(): Promise<string[]> {
    for (const callback of this.#due.splice(0)) callback();
    return this.take();
  }
}

test("while storage has it locked nobody enters; afterwards one enters per turn, in order", async () => {
  const turns = new Turns();
  turns.gate.lock(false);
  expect(turns.gate.isOpen).toBe(false);
  for (const name of ["a", "b", "c"]) turns.enter(name);
  expect(await turns.take()).toEqual([]);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["a"]);
  turns.enter("d"); // behind those who wait, though the gate is not locked
  expect(await turns.take()).toEqual([]);
  for (const name of ["b", "c", "d"]) expect(await turns.turn()).toEqual([name]);
  expect(turns.gate.isOpen).toBe(false); // the last one's turn
  expect(await turns.turn()).toEqual([]);
  expect(turns.gate.isOpen).toBe(true);
});

test("locks are counted, and one that is taken in somebody's turn keeps the rest out", async () => {
  const turns = new Turns();
  turns.gate.lock(false);
  turns.gate.lock(false);
  for (const name of ["a", "b"]) turns.enter(name);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual([]);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["a"]);
  turns.gate.lock(false); // what has entered reads
  expect(await turns.turn()).toEqual([]);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["b"]);
});

test("an unlock in the middle of somebody's turn lets nobody in before the next", async () => {
  const turns = new Turns();
  turns.gate.lock(false);
  for (const name of ["a", "b", "c"]) turns.enter(name);
  turns.gate.unlock(false);
  turns.gate.lock(false);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["a"]);
  expect(await turns.turn()).toEqual(["b"]);
});

test("a serial event that reads keeps the gate until it leaves and its read has ended", async () => {
  const turns = new Turns();
  const holder = turns.enter("holder", true);
  turns.gate.lock(false);
  turns.enter("next", true);
  turns.gate.leave(holder);
  expect(await turns.take()).toEqual(["holder"]);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["next"]);
});

test("those who wait and hold enter one at a time; those who do not, after them", async () => {
  const turns = new Turns();
  turns.gate.lock(true);
  const first = turns.enter("first", true);
  turns.enter("second");
  turns.gate.unlock(true);
  expect(await turns.take()).toEqual(["first"]);
  expect(await turns.turn()).toEqual([]);
  turns.gate.leave(first);
  expect(await turns.take()).toEqual(["second"]);
});

test("H4 a call of the object's own chain waits for a read, and is refused while a transaction is open", async () => {
  const turns = new Turns();
  const chained = visitor(["box/a", "box/b"]);
  turns.gate.lock(false);
  turns.enter("chained", false, chained);
  turns.gate.lock(true);
  expect(() => turns.gate.enter(chained, false)).toThrow(expect.objectContaining({ code: "call_cycle" }));
  turns.enter("another chain", false, visitor(["box/b"]));
  turns.gate.unlock(true);
  expect(await turns.take()).toEqual([]);
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["chained"]);
  expect(await turns.turn()).toEqual(["another chain"]);
});

test("closed while it is locked: who waits is told, and an unlock lets nobody in", async () => {
  const turns = new Turns();
  turns.gate.lock(false);
  turns.enter("a");
  turns.gate.close(new StatefulError("fenced", "over"));
  turns.gate.unlock(false);
  expect(await turns.take()).toEqual(["a: fenced"]);
  expect(() => turns.gate.enter(visitor(), false)).toThrow("over");
});
