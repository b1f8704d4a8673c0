import { expect, test } from "bun:test";
import { object } from "../../infra/object/object.ts";
import { ServedMove, fromSource } from "../../infra/edge/move-channel.ts";
import { encodeMoveOffer } from "../../infra/edge/move-offer.ts";
import { encodePackage } from "../../infra/host/move-package.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { heldEventsMax } from "../../infra/host/attached-edge.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Channel } from "../../infra/link/link.ts";
import { connectTo, endSession, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

async function settled(hosts: TwoHosts): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    await hosts.source.clock.advance(1);
    await hosts.target.clock.advance(1);
  }
}

for (const failures of [1, 2])
  test(`L7 an arrival whose start fails ${failures} times starts as the move that it is`, async () => {
    let left = failures;
    const heard: unknown[] = [];
    const hosts = new TwoHosts(() => [
      object("room", {
        state: () => ({ count: 0 }),
        onMoveOut: () => ({ ticket: 7 }),
        onMoveIn: ({ carried }) => {
          if (left-- > 0) throw new Error("not now");
          heard.push(carried);
        },
        onStart: ({ reason }) => void heard.push(reason),
      })
        .get("/", ({ state }) => state.count)
        .post("/count", ({ state }) => ++state.count),
    ]);
    await fetchFrom(await hosts.source.live("room"), "/count", post);
    heard.length = 0;
    await hosts.move("room");
    await settled(hosts);
    for (let n = 1; n < failures; n += 1) await hosts.target.live("room").catch(() => undefined);
    const response = await fetchFrom(await hosts.target.live("room"));
    expect([await response.json(), ...heard]).toEqual([1, { ticket: 7 }, "move"]);
  });

test("L7 a target that cannot say that it is ready lets go of what came: the source was told so, and lives on", () => {
  const outcomes: string[] = [];
  const arrival = {
    reserve: () => undefined,
    deliver: () => undefined,
    go: () => undefined,
    cancelled: () => void outcomes.push("cancelled"),
    undecided: () => void outcomes.push("undecided"),
  };
  let sends = 0;
  const channel = {
    send: () => ++sends === 1,
    consumed: () => undefined,
  } as unknown as Channel; // the test made it
  const ref = objectRef("room", "a");
  const offer = { ref, epoch: 1, toSession: "s", dataVersion: 1, codeVersion: "test", edges: [] };
  const served = new ServedMove(channel, encodeMoveOffer(offer), {
    arrivals: { offered: () => arrival },
    codeVersion: "test",
    reach: () => undefined,
  });
  let thrown: unknown;
  try {
    served.message(channel, fromSource.partEnd, new Uint8Array());
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: "link_overloaded" });
  served.closed(channel, thrown as never); // as the link does with what a handler throws
  expect(outcomes).toEqual(["cancelled"]);
});

test("L7 H5 heads of sockets that were closed before they were here are not kept for ever", async () => {
  const host = new ObjectHost(
    object("room", { state: () => ({}), idleAfterMs: 1000 }).ws("/live", {
      message: (ws, text) => void ws.send(text),
    }),
  );
  const edge = new FakeEdge();
  await connectTo(await host.live("room"), new FakeCarrier(edge));
  const target = "/room/a/live";
  const head = { kind: "websocket", url: `http://client.example${target}`, target, headers: [] } as const;
  for (let number = 10; number < 10 + heldEventsMax; number += 1) {
    edge.events?.head(number, head);
    edge.events?.closed(number, 1000, "");
  }
  const record = {
    ...({
      number: 5,
      id: "five",
      remoteAddress: "",
      kind: "websocket",
      phase: "opened",
      handled: 0,
    } as const),
    ...{ subscriptions: [], presence: [], tags: [], attachment: undefined },
  };
  edge.events?.head(5, head);
  edge.events?.roll([record], "missing", true);
  edge.events?.message(5, "hello");
  await host.clock.advance(10);
  expect(edge.carriers.get(5)?.closed).toBeUndefined();
  expect(edge.carriers.get(5)?.sent).toEqual(["hello"]);
});

const nothing = {
  carried: undefined,
  stored: undefined,
  edges: [],
  sinceMs: undefined,
  nextAlarmMs: undefined,
};

/** An object whose source has not said how its move ended. */
async function inDoubt() {
  const host = new ObjectHost(object("room", { state: () => ({ n: 0 }) }).get("/", ({ state }) => state.n));
  const { leases, table, clock } = host;
  const ref = objectRef("room", "a");
  const source = { session: "source.1" } as HostRecord; // nothing else of it is looked at
  leases.owners.set(source.session, source);
  leases.hosts.set(source.session, source);
  leases.elsewhere.set(ref.key, source.session);
  const toSession = leases.session.id;
  const offer = { ref, epoch: 1, toSession, dataVersion: 1, codeVersion: "test", edges: [] };
  const arrival = table.arrivals.offered(offer);
  arrival.deliver(encodePackage({ ...nothing, version: 1, state: { n: 7 } }));
  arrival.undecided();
  await clock.advance(1);
  return { host, leases, table, clock, ref };
}

test("L7 nobody waits for an object whose source has not said, where the primary names another owner", async () => {
  const { leases, table, clock, ref } = await inDoubt();
  expect(table.isChanging(ref.key)).toBe(true);
  leases.answersAgain();
  const asked = leases.acquired.length;
  const found = [table.activate(ref, "mine"), table.claim(ref, "mine", true)];
  await clock.advance(100);
  for (const each of await Promise.all(found))
    expect(each).toMatchObject({ owned: false, session: "source.1", epoch: 1 });
  // One question for both, and asked after they came: what was known before may be so no longer.
  expect(leases.acquired.length).toBe(asked + 1);
  expect(table.isChanging(ref.key)).toBe(true);
});

test("L7 and whoever asks is served here as soon as the primary says that it is ours", async () => {
  const { host, leases, clock, ref } = await inDoubt();
  leases.elsewhere.delete(ref.key);
  const live = host.live("room");
  await clock.advance(100);
  expect(await (await fetchFrom(await live)).json()).toBe(7);
});

for (const former of ["session-1", "somebody.1"])
  test(`L7 L1 an arrival whose host's session has ended is followed where the lease was that one's: it was ${former}'s`, async () => {
    const { host, leases, table, clock, ref } = await inDoubt();
    endSession(host);
    leases.elsewhere.delete(ref.key);
    leases.former = former;
    const isOurs = former === "session-1";
    const live = host.live("room");
    await clock.advance(200);
    expect(await (await fetchFrom(await live)).json()).toBe(isOurs ? 7 : 0);
    expect(leases.released).toHaveLength(isOurs ? 0 : 1);
    expect(table.isChanging(ref.key)).toBe(false);
  });

test("L7 L9 what was on its way when the directory lost memory is not followed", async () => {
  const { host, leases, table, clock, ref } = await inDoubt();
  endSession(host);
  leases.elsewhere.delete(ref.key);
  leases.former = "session-1";
  const adopted = table.adoptAll(true);
  await clock.advance(1);
  await adopted;
  expect(table.arriving).toBe(0);
  const live = host.live("room");
  await clock.advance(200);
  expect(await (await fetchFrom(await live)).json()).toBe(0);
});

test("L7 nor for longer than a few seconds where the directory gives it to nobody", async () => {
  const { host, leases, table, clock, ref } = await inDoubt();
  endSession(host);
  const refused = Promise.reject(new StatefulError("directory_unavailable", "To nobody."));
  refused.catch(() => undefined);
  leases.held = refused;
  await clock.advance(4_900);
  expect(table.isChanging(ref.key)).toBe(true);
  await clock.advance(1_000);
  expect(table.isChanging(ref.key)).toBe(false);
});
