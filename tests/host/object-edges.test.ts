import { describe, expect, test } from "bun:test";
import { attachedEdge } from "../../infra/edge/attached-edges.ts";
import type { EdgeName } from "../../infra/host/edge-port.ts";
import type { ObjectEdges } from "../../infra/host/object-edges.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { object } from "../../infra/object/object.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

const ref = objectRef("room", "a");
const edgeName: EdgeName = { process: "process-late", hostId: "host-9", region: "nrt" };
const over = new StatefulError("memory_limit", "over, by the test");

function makeRoom() {
  return object("room", { idleAfterMs: 1000 }).ws("/live", { message: (ws, text) => void ws.send(text) });
}

function attach(edges: ObjectEdges, port = new FakeEdge()): FakeEdge {
  edges.attach(edgeName, (events, facts) => Object.assign(port, { events, facts }));
  return port;
}

/** The ways in which an object's edges are left without it, each in the turn in which it is called. */
const ends: readonly (readonly [string, (host: ObjectHost) => Promise<void>])[] = [
  ["breaks", async (host) => host.table.stopOffender(await host.live("room"), over)],
  [
    "is lost by the directory",
    async (host) => {
      const { epoch } = await host.live("room");
      host.table.endLost([{ object: ref, epoch }]);
    },
  ],
];

describe("E26 an edge is not attached to an object that is over", () => {
  for (const [name, end] of ends)
    test(`one that ${name} between the claim of a registration and its attachment`, async () => {
      const host = new ObjectHost(makeRoom());
      await host.live("room");
      const claimed = host.table.claim(ref, "mine", false);
      await end(host);
      const edges = await claimed;
      if ("owned" in edges) throw new Error("It was here.");
      expect(() => attach(edges)).toThrow(expect.objectContaining({ code: "not_owner" }));
      expect(edges.size).toBe(0);
      // Whoever asks again gets the next life of it.
      const next = await host.table.claim(ref, "free", false);
      if ("owned" in next) throw new Error("Nobody has it.");
      expect(attach(next).facts?.epoch).toBeGreaterThan(0);
      expect(next.size).toBe(1);
    });

  test("one that slept, and was lost", async () => {
    const host = new ObjectHost(makeRoom());
    await connectTo(await host.live("room"), new FakeCarrier(new FakeEdge()));
    await host.clock.advance(5000);
    const claimed = host.table.claim(ref, "mine", true);
    const { epoch } = host.table.sleeping("room/a") ?? { epoch: 0 };
    host.table.endLost([{ object: ref, epoch }]);
    const edges = await claimed;
    if ("owned" in edges) throw new Error("It was here.");
    expect(() => attach(edges)).toThrow(expect.objectContaining({ code: "not_owner" }));
  });

  test("one that slept, and whose last edge was given up: its lease is free already", async () => {
    const host = new ObjectHost(makeRoom());
    const edge = new FakeEdge();
    await connectTo(await host.live("room"), new FakeCarrier(edge));
    await host.clock.advance(5000);
    const edges = await host.table.claim(ref, "mine", true);
    if ("owned" in edges) throw new Error("It was here.");
    edge.events?.lost(new StatefulError("outcome_unknown", "by the test"));
    expect(host.leases.released).toHaveLength(1);
    expect(() => attach(edges)).toThrow(expect.objectContaining({ code: "not_owner" }));
  });

  test("one that has moved away", async () => {
    const hosts = new TwoHosts(() => [makeRoom()]);
    const { edges } = await hosts.source.live("room");
    await connectTo(await hosts.source.live("room"), new FakeCarrier(new FakeEdge()));
    await hosts.move("room");
    expect(() => attach(edges)).toThrow(expect.objectContaining({ code: "not_owner" }));
  });

  test("one whose upgrade it has accepted before it was over, and which has had no socket", async () => {
    const host = new ObjectHost(makeRoom());
    const activation = await host.live("room");
    host.table.stopOffender(activation, over);
    expect(() => attachedEdge(activation, edgeName, host.edgePorts)).toThrow(over);
    expect(() => activation.edges).toThrow(expect.objectContaining({ code: "not_owner" }));
    expect(host.edgePorts.known.size).toBe(0);
  });
});

test("E18 the first edge of an object, attached while it is about to move, holds and moves like any other", async () => {
  const quiet = Promise.withResolvers<void>();
  const slow = () => makeRoom().get("/slow", () => quiet.promise.then(() => "done"));
  const hosts = new TwoHosts(() => [slow()]);
  const activation = await hosts.source.live("room");
  const answer = fetchFrom(activation, "/slow");
  const moving = hosts.move("room");
  await hosts.source.clock.advance(10);
  expect(activation.phase.name).toBe("moving");
  const late = attach(activation.edges);
  expect([late.told, activation.edges.isOpen]).toEqual([["hold"], false]);
  quiet.resolve();
  expect(await (await answer).text()).toBe("done");
  const { toSession, epoch } = await moving;
  expect(late.told).toEqual(["hold", `moved ${toSession} ${epoch}`]);
});

test("E18 an edge that is attached while the object is about to move holds what clients say, like the others", async () => {
  const host = new ObjectHost(makeRoom());
  const { edges } = await host.live("room");
  const [late, later] = [new FakeEdge(), new FakeEdge()];
  edges.shut(true);
  attach(edges, late);
  expect(late.told).toEqual(["hold"]);
  edges.goOn();
  edges.attach({ ...edgeName, process: "process-later" }, () => later);
  expect([late.told, later.told]).toEqual([["hold", "goOn"], []]);
});
