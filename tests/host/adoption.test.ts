import { expect, test } from "bun:test";
import { object } from "stateful-objects";
import { endSession, fetchFrom, ObjectHost, post } from "./object-host.ts";

const box = () =>
  object("box", { state: () => ({ count: 0 }), idleAfterMs: 600_000 }).post(
    "/",
    ({ state }) => ++state.count,
  );

test("H6 L1 what the directory did not settle is asked for again until it is, and the rest goes on at once", async () => {
  const host = new ObjectHost(box());
  const [settled, waiting] = [await host.live("box", "a"), await host.live("box", "b")];
  endSession(host);
  host.leases.unsettled.add("box/b");
  const adopted = host.table.adoptAll();
  await host.clock.advance(60_000);
  expect([settled.phase.name, waiting.phase.name]).toEqual(["live", "suspended"]);
  const { length } = host.leases.adoptions;
  expect(length).toBeGreaterThan(8);
  expect(length).toBeLessThan(30);
  host.leases.unsettled.clear();
  await host.clock.advance(5000);
  await adopted;
  expect([waiting.isLive, settled.epoch]).toEqual([true, 3]);
  expect(host.leases.adoptions.at(-1)?.leases).toHaveLength(1);
});

test("H6 L1 adoption is tried again when a whole attempt fails, and no longer once its session or its host is over", async () => {
  for (const finish of ["session", "host"] as const) {
    const host = new ObjectHost(box());
    await host.live("box");
    endSession(host);
    host.leases.unsettled.add("box/a");
    const adopted = host.table.adoptAll();
    await host.clock.advance(1000);
    const { length } = host.leases.adoptions;
    if (finish === "session") endSession(host, "session-3");
    else await host.table.close("drain", 0);
    await host.clock.advance(60_000);
    await adopted;
    expect(host.leases.adoptions).toHaveLength(length);
  }
});

test("H6 L1 an adoption that is told after its session ended as well is what the next one adopts from", async () => {
  const host = new ObjectHost(box());
  const activation = await host.live("box");
  await fetchFrom(activation, "/", post);
  endSession(host);
  const held = Promise.withResolvers<void>();
  host.leases.adoptionHeld = held.promise;
  const late = host.table.adoptAll();
  await host.clock.advance(0);
  endSession(host, "session-3");
  held.resolve();
  await late;
  expect(activation.phase).toMatchObject({ name: "suspended", session: { id: "session-2" }, epoch: 2 });
  await host.table.adoptAll();
  expect(host.leases.adoptions.at(-1)).toMatchObject({ fromSession: "session-2", leases: [{ epoch: 2 }] });
  expect(await (await fetchFrom(activation, "/", post)).text()).toBe("2");
});

test("H6 L1 a stop that ran while its session was over is finished by adoption: never live after onStop", async () => {
  const stop = Promise.withResolvers<void>();
  let stops = 0;
  const onStop = () => {
    stops++;
    return stop.promise;
  };
  const host = new ObjectHost(object("box", { onStop }));
  const activation = await host.live("box");
  const stopping = host.table.stop(activation, "drain");
  await host.clock.advance(0);
  endSession(host);
  stop.resolve();
  await stopping;
  expect([activation.phase.name, host.leases.released]).toEqual(["suspended", []]);
  await host.table.adoptAll();
  expect(activation.phase).toMatchObject({ name: "over", cause: { code: "not_owner" } });
  expect([host.table.size, host.leases.released]).toEqual([0, [{ object: activation.ref, epoch: 2 }]]);
  expect((await host.live("box")) === activation).toBe(false);
  expect(stops).toBe(1);
});

test("H6 L1 a stop that still runs when its lease is adopted ends as a stop, and gives back the adopted lease", async () => {
  const stop = Promise.withResolvers<void>();
  const host = new ObjectHost(object("box", { onStop: () => stop.promise }));
  const activation = await host.live("box");
  const stopping = host.table.stop(activation, "idle");
  await host.clock.advance(0);
  endSession(host);
  await host.table.adoptAll();
  expect(activation.phase).toMatchObject({ name: "stopping", epoch: 2 });
  stop.resolve();
  await stopping;
  expect([activation.phase.name, host.table.size]).toEqual(["over", 0]);
  expect(host.leases.released).toEqual([{ object: activation.ref, epoch: 2 }]);
});

test("H6 L1 a stop that had not come to its onStop when its session ended leaves the object as it was", async () => {
  const answer = Promise.withResolvers<string>();
  const reasons: string[] = [];
  const host = new ObjectHost(
    object("box", { onStop: ({ reason }) => void reasons.push(reason) }).get("/", () => answer.promise),
  );
  const activation = await host.live("box");
  void fetchFrom(activation);
  const stopping = host.table.stop(activation, "drain", 1000);
  await host.clock.advance(0);
  endSession(host);
  await host.table.adoptAll();
  expect(activation.isLive).toBe(true);
  await host.clock.advance(1000);
  await stopping;
  expect([activation.isLive, reasons]).toEqual([true, []]);
  answer.resolve("ok");
  await host.clock.advance(0);
  await host.table.stop(activation, "idle");
  expect(reasons).toEqual(["idle"]);
});
