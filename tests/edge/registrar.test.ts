import { describe, expect, test } from "bun:test";
import type { HeldSockets } from "../../infra/edge/held-sockets.ts";
import type { SearchSetup } from "../../infra/edge/owner-search.ts";
import {
  Registrar,
  reattachGraceMs,
  seekPauseMaxMs,
  seekRefreshMs,
  seeksMax,
} from "../../infra/edge/registrar.ts";
import { RouteCache } from "../../infra/edge/route-cache.ts";
import { ObjectEdges } from "../../infra/host/object-edges.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type ObjectRef, objectRef } from "../../infra/lib/object-ref.ts";
import { LogBook } from "../host/object-host.ts";
import { host } from "../placement/questions.ts";
import { EdgeRig, type FakeOwner, ref } from "../support/edge-rig.ts";

const leaseTtlMs = 9000;
const two: HostRecord = host("two", { session: "two.1" });

interface World {
  /** Who the primary says has it; undefined for nobody, and then this host may take it. */
  owner: string | undefined;
  hosts: HostRecord[];
  refreshes: number;
  readonly claims: { key: string; isAsleep: boolean }[];
  /** What a claim waits for. */
  gate: Promise<unknown>;
  local: FakeOwner | undefined;
}

/** An edge whose directory says what the test says. */
function rigWithRegistrar() {
  const rig = new EdgeRig();
  const world: World = {
    owner: undefined,
    hosts: [],
    refreshes: 0,
    claims: [],
    gate: Promise.resolve(),
    local: undefined,
  };
  const claim = async (object: ObjectRef, _: "free" | "mine", isAsleep: boolean) => {
    world.claims.push({ key: object.key, isAsleep });
    await world.gate;
    if (world.owner !== undefined) return { owned: false, session: world.owner, epoch: 2, owner: undefined };
    if (world.local === undefined) throw new StatefulError("directory_unavailable", "by the test");
    return world.local.claim();
  };
  const search = {
    region: "ams",
    table: {
      live: () => undefined,
      checkNotWaiting: () => undefined,
      isChanging: () => false,
      sleeping: () => false,
      claim,
    },
    leases: {
      session: { id: "edge.1", isValid: () => true },
      hosts: [host("edge", { session: "edge.1", region: "ams" })],
      host: (session: string) => world.hosts.find((each) => each.session === session),
      successor: () => undefined,
      hasHints: false,
    },
    routes: new RouteCache(10),
    policyOf: () => ({ strategy: "nearest", regions: [] }),
    isKnownClass: () => true,
    refreshHosts: async () => void world.refreshes++,
    roundTripMs: () => undefined,
  } as unknown as SearchSetup; // A search that asks for more would fail, and say so.
  const local = rig.owner("edge", 9);
  const log = new LogBook();
  const registrar = new Registrar({
    search,
    links: {
      to: async () => {
        const link = rig.openLinkTo(rig.owners("two"));
        if (link === undefined) throw new StatefulError("owner_unreachable", "by the test");
        return link.edge;
      },
    },
    sockets: rig.sockets,
    ports: local.ports,
    clock: rig.clock,
    random: () => 1,
    log,
    leaseTtlMs,
  });
  return { rig, world, registrar, local, log };
}

/** Sockets whose owner has crashed. */
async function lost(rig: EdgeRig): Promise<HeldSockets> {
  const one = rig.owner("one", 1);
  await rig.connect(one);
  rig.cut(one);
  await rig.settle();
  const [held] = rig.sought;
  if (held === undefined) throw new Error("Nothing was lost.");
  return held;
}

test("E22 the next owner is found by the way that requests go, and told the sockets", async () => {
  const { rig, world, registrar } = rigWithRegistrar();
  const held = await lost(rig);
  const owner = rig.owner("two", 2);
  await rig.link(owner);
  world.owner = "two.1";
  world.hosts = [two];
  registrar.seek(held);
  await rig.clock.advance(50);
  expect(held.isLost).toBe(false);
  expect(owner.told[0]?.[0]).toBe("record");
  registrar.stop();
});

test("E22 this host may take the object itself: awake or asleep, as it was", async () => {
  const { rig, world, registrar, local } = rigWithRegistrar();
  const held = await lost(rig);
  world.local = local;
  registrar.seek(held);
  await rig.clock.advance(50);
  expect(world.claims).toEqual([{ key: ref.key, isAsleep: false }]);
  expect(held.isLost).toBe(false);
  expect(local.told.map(([event]) => event)).toEqual(["record", "rolled"]);
});

test("E22 while the lease of the lost owner runs, who is alive is asked again and again, and not too often", async () => {
  const { rig, world, registrar, local } = rigWithRegistrar();
  const held = await lost(rig);
  world.owner = "one.1"; // and no host has that session
  registrar.seek(held);
  registrar.seek(held);
  await rig.clock.advance(10_000);
  expect(held.isLost).toBe(true);
  expect(world.claims.length).toBeGreaterThan(9);
  expect(world.claims.length).toBeLessThan(20);
  const most = 10_000 / seekRefreshMs + 2 + world.claims.length;
  expect(world.refreshes).toBeGreaterThan(10_000 / seekRefreshMs - 2);
  expect(world.refreshes).toBeLessThan(most);
  world.owner = undefined;
  world.local = local;
  registrar.hostsChanged();
  await rig.clock.advance(20);
  expect(held.isLost).toBe(false);
});

test("E15 sockets for which no owner is found in time are closed with 1012", async () => {
  const { rig, registrar } = rigWithRegistrar();
  const one = rig.owner("one", 1);
  const client = await rig.connect(one);
  rig.cut(one);
  await rig.settle();
  registrar.seek(rig.held);
  await rig.clock.advance(leaseTtlMs + reattachGraceMs - 2000);
  expect(client.closing).toBeUndefined();
  await rig.clock.advance(2000 + 2 * seekPauseMaxMs);
  expect(client.closing?.[0]).toBe(1012);
  await rig.clock.advance(1000);
  rig.sockets.stop();
  registrar.stop();
});

test("E15 an owner that has given the sockets up has them closed at once", async () => {
  const { rig, world, registrar } = rigWithRegistrar();
  const owner = rig.owner("two", 2);
  const client = await rig.connect(owner);
  world.owner = "two.1";
  world.hosts = [two];
  rig.gone.add("edge");
  rig.cut(owner);
  await rig.settle();
  expect(owner.lostBecause?.code).toBe("owner_unreachable");
  await rig.link(owner);
  registrar.seek(rig.held);
  await rig.clock.advance(50);
  expect(client.closing?.[0]).toBe(1012);
});

/** The edges of an object, whose owner the test is. */
function edgesOf({ clock }: EdgeRig, owner: FakeOwner): ObjectEdges {
  const nothing = () => undefined;
  const definition = { wakeOnClose: false };
  return new ObjectEdges({ clock, definition, facts: () => owner.facts, wake: nothing, emptied: nothing });
}

describe("E26 an object that ends after it was found and before the edge is attached", () => {
  test("at another host: the edge is refused, and attached to its next life", async () => {
    const { rig, world, registrar } = rigWithRegistrar();
    const held = await lost(rig);
    const owner = rig.owner("two", 2);
    const ending = edgesOf(rig, owner);
    owner.ending = ending;
    await rig.link(owner);
    world.owner = "two.1";
    world.hosts = [two];
    registrar.seek(held);
    await rig.clock.advance(2 * seekPauseMaxMs);
    expect([ending.size, held.isLost, owner.told.map(([event]) => event)]).toEqual([
      0,
      false,
      ["record", "rolled"],
    ]);
    registrar.stop();
  });

  test("at this host: the search goes on", async () => {
    const { rig, world, registrar, local } = rigWithRegistrar();
    const held = await lost(rig);
    const ending = edgesOf(rig, local);
    local.ending = ending;
    world.local = local;
    registrar.seek(held);
    await rig.clock.advance(2 * seekPauseMaxMs);
    expect([ending.size, held.isLost, local.told.map(([event]) => event)]).toEqual([
      0,
      false,
      ["record", "rolled"],
    ]);
    registrar.stop();
  });
});

describe("E15 only what was given up is closed", () => {
  test("a host that cannot say what became of the object is asked again, with pauses, and then no more", async () => {
    const { rig, world, registrar, log } = rigWithRegistrar();
    const owner = rig.owner("two", 2);
    const client = await rig.connect(owner);
    world.owner = "two.1";
    world.hosts = [two];
    owner.refusal = new StatefulError("outcome_unknown", "Whether it was stored is not known.");
    rig.cut(owner);
    await rig.settle();
    await rig.link(owner);
    registrar.seek(rig.held);
    await rig.clock.advance(10_000);
    expect([client.closing, rig.held.isLost]).toEqual([undefined, true]);
    expect(owner.claims).toBeGreaterThan(9);
    expect(owner.claims).toBeLessThan(20);
    owner.refusal = undefined;
    await rig.clock.advance(2 * seekPauseMaxMs);
    expect([client.closing, rig.held.isLost]).toEqual([undefined, false]);
    client.say("still here");
    await rig.settle();
    expect(owner.messages(client)).toEqual(["still here"]);
    expect(log.entries.filter(({ level }) => level === "warn")).toEqual([]);
    registrar.stop();
  });

  test("sockets that are closed for want of an owner: the log has the last refusal", async () => {
    const { rig, world, registrar, log } = rigWithRegistrar();
    const owner = rig.owner("two", 2);
    const client = await rig.connect(owner);
    world.owner = "two.1";
    world.hosts = [two];
    owner.refusal = new StatefulError("outcome_unknown", "Whether it was stored is not known.");
    rig.cut(owner);
    await rig.settle();
    await rig.link(owner);
    registrar.seek(rig.held);
    await rig.clock.advance(leaseTtlMs + reattachGraceMs - 2000);
    expect(client.closing).toBeUndefined();
    await rig.clock.advance(2000 + 2 * seekPauseMaxMs);
    expect(client.closing?.[0]).toBe(1012);
    expect(log.entries.filter(({ level }) => level === "warn")).toEqual([
      {
        level: "warn",
        event: "sockets.given_up",
        fields: { object: ref.key, sockets: 1, error: expect.objectContaining({ code: "outcome_unknown" }) },
      },
    ]);
    registrar.stop();
  });

  test("an owner that is lost again as soon as it was found is sought again", async () => {
    for (let turns = 0; turns < 30; turns++) {
      const { rig, world, registrar, local } = rigWithRegistrar();
      const held = await lost(rig);
      world.local = local;
      // As the edges' own setup does.
      const seek = rig.sought.push.bind(rig.sought);
      rig.sought.push = (...all) => {
        for (const each of all) registrar.seek(each);
        return seek(...all);
      };
      const found = Promise.withResolvers<void>();
      const { attach } = local.edges;
      local.edges.attach = (...all) => {
        const attached = attach(...all);
        local.edges.attach = attach;
        found.resolve();
        return attached;
      };
      registrar.seek(held);
      const advanced = rig.clock.advance(5);
      await found.promise;
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      local.port?.close(new StatefulError("session_over", "by the test"));
      local.port = undefined;
      expect(held.isLost).toBe(true);
      await advanced;
      await rig.clock.advance(2 * seekPauseMaxMs);
      expect([turns, held.isLost]).toEqual([turns, false]);
      registrar.stop();
    }
  });
});

test("searches at once are bounded, and all get their turn", async () => {
  const { rig, world, registrar, local } = rigWithRegistrar();
  const gate = Promise.withResolvers<void>();
  world.gate = gate.promise;
  world.local = local;
  const all = Array.from({ length: seeksMax + 10 }, (_, index) => {
    const held = rig.sockets.heldOf(objectRef("room", `n${index}`));
    const socket = rig.sockets.add(held.ref);
    const head = { kind: "websocket" as const, url: "", target: "", headers: [] };
    held.add(socket, { id: "", remoteAddress: "", head, settled: undefined }, "nobody");
    return held;
  });
  for (const held of all) registrar.seek(held);
  await rig.clock.advance(5);
  expect(world.claims).toHaveLength(seeksMax);
  gate.resolve();
  await rig.clock.advance(5);
  expect(new Set(world.claims.map(({ key }) => key)).size).toBe(seeksMax + 10);
  registrar.stop();
});
