import { expect, test } from "bun:test";
import { type GateVisitor, InputGate } from "../../infra/host/input-gate.ts";
import { StatefulError } from "../../infra/lib/errors.ts";

const visitor = (chain: readonly string[] = []): GateVisitor => ({ objectKey: "box/a", chain });

test("who finds the gate free enters at once, without a promise", () => {
  expect(new InputGate().enter(visitor())).toBeUndefined();
});

test("H4 who waits enters in the order of arrival, one at a time", async () => {
  const gate = new InputGate();
  const [first, second, third] = [visitor(), visitor(), visitor()];
  const inside: string[] = [];
  gate.enter(first);
  const entered = [
    Promise.resolve(gate.enter(second)).then(() => inside.push("second")),
    Promise.resolve(gate.enter(third)).then(() => inside.push("third")),
  ];
  gate.leave(first);
  await entered[0];
  expect(inside).toEqual(["second"]);
  gate.leave(second);
  await entered[1];
  expect(inside).toEqual(["second", "third"]);
  gate.leave(third);
  expect(gate.enter(visitor())).toBeUndefined();
});

test("leaving without being inside lets nobody in", async () => {
  const gate = new InputGate();
  gate.enter(visitor());
  let isInside = false;
  const waiting = visitor();
  const entered = Promise.resolve(gate.enter(waiting)).then(() => {
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
  const gate = new InputGate();
  gate.enter(visitor());
  expect(() => gate.enter(visitor(["box/a", "box/b"]))).toThrow(
    expect.objectContaining({
      code: "call_cycle",
      message: expect.stringContaining("box/a → box/b → box/a"),
    }),
  );
});

test("a chain through other objects only waits like anyone else", () => {
  const gate = new InputGate();
  gate.enter(visitor());
  expect(gate.enter(visitor(["box/b", "box/c"]))).toBeInstanceOf(Promise);
});

test("a closed gate refuses who waits and who comes later, with the first cause", async () => {
  const gate = new InputGate();
  gate.enter(visitor());
  const waiting = gate.enter(visitor());
  gate.close(new StatefulError("session_over", "first"));
  gate.close(new StatefulError("not_owner", "second"));
  await expect(waiting).rejects.toThrow("first");
  expect(() => gate.enter(visitor())).toThrow("first");
});
