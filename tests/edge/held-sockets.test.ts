import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { heldCountMax, reportCount } from "../../infra/edge/channel-line.ts";
import { emptyLimitMs, moveLimitMs } from "../../infra/edge/held-sockets.ts";
import { socketInflightCountMax } from "../../infra/edge/held-socket.ts";
import { partLengthMax } from "../../infra/edge/message-parts.ts";
import { interruptedLimitMs } from "../../infra/edge/served-edge.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { EdgeRig, type FakeOwner, ref } from "../support/edge-rig.ts";
import { FakeClient } from "../support/fake-client.ts";
import { said } from "../support/topic-message.ts";

/** At another host, and at the edge's own. */
const places = [["elsewhere", "owner"] as const, ["here", "edge"] as const];

/** Moves the object as its owners do: hold, the next one attaches with what was taken, and the marker. */
async function move(rig: EdgeRig, from: FakeOwner, to: FakeOwner, markerFirst: boolean): Promise<void> {
  for (const [number, taken] of from.taken) to.taken.set(number, taken);
  if (to.process !== "edge" && rig.openLinkTo(to) === undefined) await rig.link(to);
  const moved = () => from.port?.moved(to.facts.session, to.epoch);
  if (markerFirst) {
    moved();
    await rig.settle();
  }
  to.attach();
  if (!markerFirst) {
    await rig.settle();
    moved();
  }
  await rig.settle();
}

describe.each(places)("an owner %s", (_, process) => {
  test("hears that the client is connected, what it says, and that it leaves, in order", async () => {
    const rig = new EdgeRig(5);
    const owner = rig.owner(process, 1);
    owner.echoes = true;
    const client = await rig.connect(owner);
    for (const word of ["one", "two", new Uint8Array([3])]) client.say(word);
    await rig.settle();
    expect(client.heard).toEqual(["one", "two", new Uint8Array([3])]);
    client.leave(4001);
    await rig.settle();
    const { number } = client;
    expect(owner.told.filter(([event]) => event !== "rolled")).toEqual([
      ["opened", number],
      ["message", number, "one"],
      ["message", number, "two"],
      ["message", number, new Uint8Array([3])],
      ["closed", number, 4001],
    ]);
  });

  test("E17 says nothing any more to an edge that it has left", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner(process, 1);
    const client = await rig.connect(owner);
    const carrier = owner.carrier(client);
    owner.port?.moved("nowhere.1", 2);
    carrier.send("late");
    carrier.close(4000, "late");
    owner.port?.rollCall();
    await rig.settle();
    expect([client.heard, client.closing]).toEqual([[], undefined]);
  });

  test("E18 holds what clients say while it is about to move, and gets it when it goes on", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner(process, 1);
    const [first, second] = [await rig.connect(owner), await rig.connect(owner)];
    owner.port?.hold();
    await rig.settle();
    owner.told.length = 0;
    first.say("a");
    second.say("b");
    first.say("c");
    second.leave(4002);
    await rig.settle();
    expect(owner.told).toEqual([]);
    owner.port?.goOn();
    await rig.settle();
    expect(owner.messages(first)).toEqual(["a", "c"]);
    expect(owner.told.slice(-2)).toEqual([
      ["message", second.number, "b"],
      ["closed", second.number, 4002],
    ]);
  });

  test("E21 a text that the class answers at the edge wakes nobody, not even while it moves", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner(process, 1);
    owner.autoResponse = { request: "ping", response: "pong" };
    const client = await rig.connect(owner);
    client.say("ping");
    owner.port?.hold();
    await rig.settle();
    client.say("ping");
    client.say("ping!");
    expect(client.heard).toEqual(["pong", "pong"]);
    owner.port?.goOn();
    await rig.settle();
    expect(owner.messages(client)).toEqual(["ping!"]);
  });

  test("E20 a reader that has caught up brings no head: where the hooks have not run nobody waits for that", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner(process, 1);
    const client = await rig.connect(owner);
    owner.port?.asleep();
    await rig.settle();
    owner.port?.rollCall();
    await rig.settle();
    owner.told.length = 0;
    client.socket.drained();
    await rig.settle();
    expect(owner.told).toEqual([]);
    client.say("hello");
    client.socket.drained();
    await rig.settle();
    expect(owner.told).toEqual([
      ["head", client.number],
      ["message", client.number, "hello"],
      ["drained", client.number],
    ]);
  });

  test("E20 a roll call is answered with all sockets, and their heads come again before their next event", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner(process, 1);
    const [first, second] = [await rig.connect(owner), await rig.connect(owner)];
    owner.carrier(first).subscribe("chat");
    owner.carrier(first).keep(new Uint8Array([7]), ["tag"]);
    first.say("before");
    await rig.settle();
    owner.port?.asleep();
    await rig.settle();
    owner.told.length = 0;
    owner.records.clear();
    owner.port?.rollCall();
    await rig.settle();
    expect([...owner.records.keys()]).toEqual([first.number, second.number]);
    expect(owner.records.get(first.number)).toMatchObject({
      id: `id-${first.number}`,
      phase: "opened",
      subscriptions: ["chat"],
      tags: ["tag"],
      attachment: new Uint8Array([7]),
      handled: 1,
    });
    owner.told.length = 0;
    first.say("after");
    first.say("and again");
    await rig.settle();
    expect(owner.told).toEqual([
      ["head", first.number],
      ["message", first.number, "after"],
      ["message", first.number, "and again"],
    ]);
  });
});

describe.each([
  ["from elsewhere to elsewhere", "one", "two"],
  ["from here to elsewhere", "edge", "two"],
  ["from elsewhere to here", "one", "edge"],
])("a planned move %s", (_, from, to) => {
  test.each([
    ["the marker first", true],
    ["the next owner's words first", false],
  ])("E19 loses nothing and repeats nothing: %s", async (__, markerFirst) => {
    const rig = new EdgeRig(3);
    const one = rig.owner(from, 1);
    const two = rig.owner(to, 2);
    two.echoes = true;
    const client = await rig.connect(one);
    one.carrier(client).subscribe("chat");
    client.say("1");
    await rig.settle();
    one.port?.hold();
    client.say("2"); // on its way, or held already
    await rig.settle();
    client.say("3");
    one.carrier(client).send("last of one");
    await move(rig, one, two, markerFirst);
    client.say("4");
    await rig.settle();
    const taken = [...one.messages(client), ...two.messages(client)];
    expect(taken).toEqual(["1", "2", "3", "4"]);
    expect(client.heard[0]).toBe("last of one");
    expect<unknown[]>(client.heard.slice(1)).toEqual(two.messages(client));
    expect(two.told.find(([event]) => event === "head")).toEqual(["head", client.number]);
    expect(two.told.some(([event]) => event === "opened")).toBe(false);
    expect(client.closing).toBeUndefined();
  });

  test("E19 what the next owner says waits for the last word of the one before", async () => {
    const rig = new EdgeRig();
    const one = rig.owner(from, 1);
    const two = rig.owner(to, 2);
    const client = await rig.connect(one);
    if (to !== "edge") await rig.link(two);
    two.taken.set(client.number, 0);
    two.attach();
    two.carrier(client).send("second");
    await rig.settle();
    expect(client.heard).toEqual([]);
    one.carrier(client).send("first");
    one.port?.moved("two.1", 2);
    await rig.settle();
    expect(client.heard).toEqual(["first", "second"]);
  });

  test("E19 what the last owner has taken, and not acknowledged, is not sent to the next", async () => {
    const rig = new EdgeRig();
    const one = rig.owner(from, 1);
    const two = rig.owner(to, 2);
    one.redeliver = true;
    one.acknowledges = false;
    const client = await rig.connect(one);
    client.say("taken");
    await rig.settle();
    one.port?.hold();
    await rig.settle();
    client.say("held");
    await move(rig, one, two, false);
    expect(two.messages(client)).toEqual(["held"]);
  });

  test("a client that leaves while its object moves is told to the next owner, after what it said", async () => {
    const rig = new EdgeRig();
    const one = rig.owner(from, 1);
    const two = rig.owner(to, 2);
    const client = await rig.connect(one);
    one.port?.hold();
    await rig.settle();
    client.say("bye");
    client.leave(4003);
    await move(rig, one, two, false);
    expect(two.told.slice(-3)).toEqual([
      ["head", client.number],
      ["message", client.number, "bye"],
      ["closed", client.number, 4003],
    ]);
    expect(one.told.some(([event]) => event === "closed")).toBe(false);
  });

  test("a socket that the next owner does not know is told to it, and one that is gone as well", async () => {
    const rig = new EdgeRig();
    const one = rig.owner(from, 1);
    const two = rig.owner(to, 2, new Map([[77, 3]]));
    const client = await rig.connect(one);
    client.say("kept");
    await rig.settle();
    one.taken.clear();
    await move(rig, one, two, true);
    expect(two.told).toContainEqual(["closed", 77, 1006]);
    expect(two.told).toContainEqual(["record", client.number, 1]);
  });
});

test("E19 three owners in a row are heard in the order of their epochs", async () => {
  const rig = new EdgeRig();
  const [one, two, three] = [rig.owner("one", 1), rig.owner("two", 2), rig.owner("three", 3)];
  const client = await rig.connect(one);
  for (const owner of [three, two]) {
    await rig.link(owner);
    owner.taken.set(client.number, 0);
    owner.attach();
    owner.carrier(client).send(owner.process);
    await rig.settle();
  }
  two.port?.moved("three.1", 3);
  one.port?.moved("two.1", 2);
  await rig.settle();
  expect(client.heard).toEqual(["two", "three"]);
  client.say("hello");
  await rig.settle();
  expect([one, two, three].map((owner) => owner.messages(client))).toEqual([[], [], ["hello"]]);
});

test("E19 an owner that was announced is heard before the one after it, whose words came first", async () => {
  const rig = new EdgeRig();
  const [one, two, three] = [rig.owner("one", 1), rig.owner("two", 2), rig.owner("three", 3)];
  const client = await rig.connect(one);
  one.carrier(client).send("one");
  const arrives = async (owner: FakeOwner, before: FakeOwner) => {
    await rig.link(owner);
    owner.taken.set(client.number, 0);
    owner.attach(before.port?.lastWord);
    owner.carrier(client).send(owner.process);
    await rig.settle();
  };
  one.port?.moved("two.1", 2);
  await arrives(three, two);
  await arrives(two, one);
  two.port?.moved("three.1", 3);
  await rig.settle();
  expect([client.heard, client.closing]).toEqual([["one", "two", "three"], undefined]);
});

test("E19 sockets are closed where an owner in between was never heard: it may have said something", async () => {
  const rig = new EdgeRig();
  const [one, two, three] = [rig.owner("one", 1), rig.owner("two", 2), rig.owner("three", 3)];
  const client = await rig.connect(one);
  two.attach(one.port?.lastWord); // and never reaches the edge
  two.carrier(client).send("two");
  one.port?.moved("two.1", 2);
  await rig.link(three);
  three.taken.set(client.number, 0);
  three.attach(two.port?.lastWord);
  three.carrier(client).send("three");
  await rig.clock.advance(moveLimitMs + 100);
  expect(client.heard).not.toContain("three");
  expect(client.closing?.[0]).toBe(1012);
});

test("an owner of an earlier epoch than one that was heard is turned away", async () => {
  const rig = new EdgeRig();
  const later = rig.owner("later", 5);
  const earlier = rig.owner("earlier", 4);
  const client = await rig.connect(later);
  await rig.link(earlier);
  earlier.attach();
  earlier.carrier(client).send("old news");
  await rig.settle();
  expect([client.heard, earlier.lostBecause?.code]).toEqual([[], "not_owner"]);
});

test("E19 the last word is waited for so long, and then the next owner is believed", async () => {
  const rig = new EdgeRig();
  const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
  const client = await rig.connect(one);
  await rig.link(two);
  two.taken.set(client.number, 0);
  two.attach();
  two.carrier(client).send("hello");
  await rig.clock.advance(moveLimitMs - 100);
  expect(client.heard).toEqual([]);
  await rig.clock.advance(200);
  expect(client.heard).toEqual(["hello"]);
  expect(one.lostBecause?.code).toBe("not_owner");
});

test("E19 an announced owner that does not come is looked for", async () => {
  const rig = new EdgeRig();
  const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
  const client = await rig.connect(one);
  one.port?.hold();
  await rig.settle();
  client.say("kept");
  one.port?.moved("two.1", 2);
  await rig.clock.advance(moveLimitMs - 100);
  expect(rig.sought).toEqual([]);
  await rig.clock.advance(200);
  expect(rig.sought).toHaveLength(1);
  expect(await rig.register(two)).toEqual({ kind: "attached" });
  await rig.settle();
  expect(two.messages(client)).toEqual(["kept"]);
});

describe("a crash", () => {
  test.each([
    [false, ["never sent"]],
    [true, ["sent", "also sent", "never sent"]],
  ])("E22 redeliver %p: what the lost owner had and did not acknowledge", async (redeliver, expected) => {
    const rig = new EdgeRig();
    const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
    one.redeliver = redeliver;
    two.redeliver = redeliver;
    const client = await rig.connect(one);
    client.say("handled");
    await rig.settle();
    one.acknowledges = false;
    client.say("sent");
    client.say("also sent");
    await rig.settle();
    rig.cut(one);
    client.say("never sent");
    await rig.settle();
    expect(rig.sought).toHaveLength(1);
    expect(await rig.register(two)).toEqual({ kind: "attached" });
    await rig.settle();
    expect(two.messages(client)).toEqual(expected);
    expect(two.told.slice(0, 3)).toEqual([
      ["record", client.number, 1],
      ["rolled", "missing"],
      ["head", client.number],
    ]);
    client.say("more");
    await rig.settle();
    expect(two.messages(client)).toEqual([...expected, "more"]);
  });

  test("whoever leaves meanwhile is in no list, and the next owner never hears of it", async () => {
    const rig = new EdgeRig();
    const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
    const [stays, leaves] = [await rig.connect(one), await rig.connect(one)];
    rig.cut(one);
    leaves.say("gone with its client");
    leaves.leave();
    await rig.register(two);
    await rig.settle();
    expect(two.told).toEqual([
      ["record", stays.number, 0],
      ["rolled", "missing"],
    ]);
  });

  test("an opening that the lost owner did not confirm runs at the next", async () => {
    const rig = new EdgeRig();
    const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
    const client = await rig.connect(one);
    rig.cut(one);
    expect(one.told).toContainEqual(["opened", client.number]);
    await rig.register(two);
    expect(two.records.get(client.number)?.phase).toBe("opened");
    const late = await rig.connect(two);
    rig.cut(two);
    const three = rig.owner("three", 3);
    await rig.register(three);
    await rig.settle();
    expect(three.records.get(late.number)?.phase).toBe("opened");
  });

  test("E22 hosts that are gone are not listened to any longer, whatever their links say", async () => {
    const rig = new EdgeRig();
    const one = rig.owner("one", 1);
    await rig.connect(one);
    rig.sockets.ownersGone(new Set(["somebody"]));
    expect(rig.sought).toEqual([]);
    rig.sockets.ownersGone(new Set(["one"]));
    expect(rig.sought).toHaveLength(1);
  });
});

describe("a link that breaks", () => {
  test("E14 at any moment, any number of times: nothing is lost or repeated, either way", async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("say" as const), who: fc.nat({ max: 2 }) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("push" as const), who: fc.nat({ max: 2 }) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("time" as const), ms: fc.nat({ max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("cut" as const), both: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("back" as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const rig = new EdgeRig(4);
        const owner = rig.owner("owner", 1);
        owner.echoes = true;
        const clients = [await rig.connect(owner), await rig.connect(owner), await rig.connect(owner)];
        const said = clients.map((): string[] => []);
        const pushed = clients.map((): string[] => []);
        let count = 0;
        for (const each of steps) {
          if (each.kind === "time") await rig.clock.advance(each.ms);
          else if (each.kind === "cut") rig.cut(owner, each.both);
          else if (each.kind === "back") {
            if (rig.held.isLost) await rig.register(owner);
          } else if (each.kind === "say") {
            said[each.who]?.push(`said ${count}`);
            clients[each.who]?.say(`said ${count++}`);
          } else {
            const client = clients[each.who];
            pushed[each.who]?.push(`pushed ${count}`);
            if (client) owner.carrier(client).send(`pushed ${count++}`);
          }
        }
        await rig.settle();
        for (let tries = 0; rig.held.isLost && tries < 5; tries++) await rig.register(owner);
        await rig.clock.advance(100);
        for (const [index, client] of clients.entries()) {
          expect(owner.messages(client)).toEqual(said[index] ?? []);
          const heard = client.heard.map(String);
          expect(heard.filter((text) => text.startsWith("said"))).toEqual(said[index] ?? []);
          expect(heard.filter((text) => text.startsWith("pushed"))).toEqual(pushed[index] ?? []);
          expect(client.closing).toBeUndefined();
        }
        expect(owner.told.filter(([event]) => event === "opened")).toHaveLength(3);
        rig.sockets.stop();
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test("E14 an object that went to sleep meanwhile, and knows no socket, is sent only what it had not taken", async () => {
    const rig = new EdgeRig(5);
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    client.say("taken");
    await rig.clock.advance(6); // It is there, and its acknowledgement is on its way.
    rig.cut(owner);
    owner.port?.asleep();
    owner.taken.clear();
    client.say("not sent");
    await rig.register(owner);
    await rig.settle();
    expect(owner.messages(client)).toEqual(["taken", "not sent"]);
  });

  test("E20 a head that was on its way when the link broke is sent again, and one that has arrived is not", async () => {
    const rig = new EdgeRig(5);
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    owner.port?.rollCall();
    await rig.settle();
    owner.told.length = 0;
    client.say("lost at first");
    await rig.clock.advance(1);
    rig.cut(owner);
    await rig.register(owner);
    await rig.settle();
    const told = [
      ["rolled", "missing"],
      ["head", client.number],
      ["message", client.number, "lost at first"],
    ];
    expect<unknown[]>(owner.told).toEqual(told);
    rig.cut(owner);
    client.say("next");
    await rig.register(owner);
    await rig.settle();
    const rolled = ["rolled", "missing"];
    expect<unknown[]>(owner.told).toEqual([...told, rolled, ["message", client.number, "next"]]);
  });

  test("E20 a head that was said on a channel which the owner no longer listens to is said on the next", async () => {
    const rig = new EdgeRig(5);
    const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
    const client = await rig.connect(one);
    rig.cut(one);
    await rig.settle();
    await rig.link(two);
    two.taken.set(client.number, 0);
    const registered = rig.register(two);
    await rig.clock.advance(1);
    two.attach(); // Its hello and the edge's registration cross.
    client.say("hello");
    await registered;
    await rig.settle();
    expect(two.told.filter(([event]) => event === "head" || event === "message")).toEqual([
      ["head", client.number],
      ["message", client.number, "hello"],
    ]);
  });

  test("E14 an owner and an edge that open a channel at once say everything once", async () => {
    const rig = new EdgeRig(5);
    const [one, two] = [rig.owner("one", 1), rig.owner("two", 2)];
    const client = await rig.connect(one);
    rig.cut(one);
    await rig.settle();
    await rig.link(two);
    two.taken.set(client.number, 0);
    two.attach();
    two.carrier(client).send("first");
    const registered = rig.register(two);
    two.carrier(client).send("second");
    expect(await registered).toEqual({ kind: "attached" });
    two.carrier(client).send("third");
    client.say("hello");
    await rig.settle();
    expect(client.heard).toEqual(["first", "second", "third"]);
    expect(two.messages(client)).toEqual(["hello"]);
    expect(two.lostBecause).toBeUndefined();
  });

  test("E15 the owner forgets the edge in the end, and its sockets are closed when they come back", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    rig.cut(owner);
    await rig.clock.advance(interruptedLimitMs - 1000);
    expect(owner.lostBecause).toBeUndefined();
    expect(owner.port?.isReachable).toBe(false);
    await rig.clock.advance(2000);
    expect(owner.lostBecause?.code).toBe("owner_unreachable");
    expect(await rig.register(owner)).toMatchObject({
      kind: "refused",
      refusal: { error: { code: "outcome_unknown" } },
    });
    rig.held.giveUp();
    expect(client.closing?.[0]).toBe(1012);
  });

  for (const isKnown of [true, false])
    test(`E15 a socket whose upgrade is under way while the others are given up lives on: ${isKnown ? "its owner has accepted it" : "its owner accepts it later"}`, async () => {
      const rig = new EdgeRig();
      const first = rig.owner("first", 1);
      const given = await rig.connect(first);
      const late = new FakeClient(rig.sockets.add(ref));
      rig.cut(first);
      rig.held.giveUp();
      expect(given.closing?.[0]).toBe(1012);
      const next = rig.owner("next", 2, new Map(isKnown ? [[late.number, 0]] : []));
      await rig.link(next);
      next.attach();
      await rig.settle();
      next.taken.set(late.number, 0);
      rig.held.add(late.socket, { ...rig.identity(late), settled: undefined }, "next");
      late.socket.connected(late);
      next.echoes = true;
      await rig.clock.advance(3 * emptyLimitMs);
      expect(next.told.filter(([event]) => event === "closed" || event === "lost")).toEqual([]);
      late.say("still here?");
      await rig.settle();
      expect(late.heard).toEqual(["still here?"]);
    });

  test("E15 an upgrade that is refused after the others were given up leaves nothing behind", async () => {
    const rig = new EdgeRig();
    const first = rig.owner("first", 1);
    await rig.connect(first);
    const late = new FakeClient(rig.sockets.add(ref));
    rig.cut(first);
    const before = rig.held;
    before.giveUp();
    const after = rig.held;
    expect(after).not.toBe(before);
    late.socket.disconnected(1006, "");
    // With its upgrade the last that was known of the object here is gone.
    expect(rig.held).not.toBe(after);
  });

  test("E15 an edge whose process is gone is not waited for", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner("owner", 1);
    await rig.connect(owner);
    rig.gone.add("edge");
    rig.cut(owner);
    await rig.settle();
    expect(owner.lostBecause?.code).toBe("owner_unreachable");
  });

  test("E15 more than may wait for it gives the edge up", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    rig.cut(owner);
    const carrier = owner.carrier(client);
    for (let count = 0; count < 2000; count++) carrier.send("x".repeat(500));
    await rig.settle();
    expect(owner.lostBecause).toBeUndefined();
    for (let count = 0; count < 200; count++) carrier.send("x".repeat(500));
    await rig.settle();
    expect(owner.lostBecause?.code).toBe("backpressure");
  });

  test("E15 the log is let go as the edge applies it", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    const carrier = owner.carrier(client);
    for (let count = 0; count < 20 * reportCount; count++) carrier.send("x".repeat(1000));
    await rig.settle();
    expect(client.heard).toHaveLength(20 * reportCount);
    rig.cut(owner);
    for (let count = 0; count < 1000; count++) carrier.send("y".repeat(1000));
    expect(await rig.register(owner)).toEqual({ kind: "attached" });
    await rig.settle();
    expect(client.heard).toHaveLength(20 * reportCount + 1000);
    expect(owner.lostBecause).toBeUndefined();
  });
});

describe("limits", () => {
  test("E6 a client that says more than its object handles is closed with 1013", async () => {
    const rig = new EdgeRig();
    const owner = rig.owner("owner", 1);
    owner.acknowledges = false;
    const client = await rig.connect(owner);
    for (let count = 0; count < socketInflightCountMax; count++) client.say("x");
    expect(client.closing).toBeUndefined();
    client.say("x");
    expect(client.closing?.[0]).toBe(1013);
    await rig.settle();
    expect(owner.messages(client)).toHaveLength(socketInflightCountMax);
    expect(owner.told.at(-1)).toEqual(["closed", client.number, 1013]);
  });

  test.each(places)(
    "E6 a next owner (%s) that says too much too early costs the sockets, with 4408",
    async (_, to) => {
      const rig = new EdgeRig();
      const [one, two] = [rig.owner("one", 1), rig.owner(to, 2)];
      const client = await rig.connect(one);
      if (to !== "edge") await rig.link(two);
      two.taken.set(client.number, 0);
      two.attach();
      for (let count = 0; count <= heldCountMax; count++) two.carrier(client).send("x");
      await rig.settle();
      expect(client.closing?.[0]).toBe(4408);
      expect(two.lostBecause?.code).toBe("backpressure");
    },
  );

  test.each(places)(
    "an attachment (%s) without clients ends after a while, and leaves no timer",
    async (_, process) => {
      const rig = new EdgeRig();
      const owner = rig.owner(process, 1);
      const client = await rig.connect(owner);
      client.leave();
      await rig.clock.advance(emptyLimitMs - 100);
      expect(owner.lostBecause).toBeUndefined();
      await rig.clock.advance(200);
      expect(owner.lostBecause?.code).toBe("not_found");
      const again = rig.sockets.heldOf(ref);
      expect(again.size).toBe(0);
    },
  );
});

test("messages of any length travel, both ways, over a link that breaks as well", async () => {
  const rig = new EdgeRig(5);
  const owner = rig.owner("owner", 1);
  owner.echoes = true;
  const client = await rig.connect(owner);
  const text = `${"x".repeat(partLengthMax - 3)}${"😀".repeat(5_000_000 / 2)}`;
  const bytes = new Uint8Array(6_000_000).map((_, index) => index);
  client.say(text);
  await rig.clock.advance(7);
  rig.cut(owner);
  await rig.settle();
  await rig.register(owner);
  await rig.clock.advance(2000);
  client.say("short");
  client.say(bytes);
  await rig.clock.advance(2000);
  const [first, second, third] = owner.messages(client);
  expect([first === text, second]).toEqual([true, "short"]);
  expect(third instanceof Uint8Array && Buffer.compare(third, bytes)).toBe(0);
  expect(client.heard[0] === text).toBe(true);
  expect(client.heard[1]).toBe("short");
  const [, , echoed] = client.heard;
  expect(echoed instanceof Uint8Array && Buffer.compare(echoed, bytes)).toBe(0);
});

test("a publish reaches the edge once, and leaves its sender out", async () => {
  const rig = new EdgeRig();
  const owner = rig.owner("owner", 1);
  const client = await rig.connect(owner);
  owner.port?.publish(ref.key, said("chat", "hello"), 0);
  owner.port?.publish(ref.key, said("chat", "to the others"), client.number);
  await rig.settle();
  expect(rig.published).toEqual([
    [`${ref.key}\nchat`, "hello"],
    [`${ref.key}\nchat`, "to the others"],
  ]);
  expect(owner.ports.publishFramesSent).toBe(2);
});

test("an owner that is no more closes its attachment, and the sockets look for the next", async () => {
  const rig = new EdgeRig();
  const owner = rig.owner("owner", 1);
  const client = await rig.connect(owner);
  owner.port?.close(new StatefulError("activation_over", "by the test"));
  await rig.settle();
  expect([rig.sought.length, client.closing]).toEqual([1, undefined]);
});
