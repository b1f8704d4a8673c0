import { describe, expect, test } from "bun:test";
import { decodeRefusal, encodeRefusal, whyNotForwarded } from "../../infra/edge/forward-protocol.ts";
import { ServedEdge } from "../../infra/edge/served-edge.ts";
import { errorCodes, StatefulError } from "../../infra/lib/errors.ts";
import { firstVersionOnly } from "../../infra/lib/version-range.ts";
import { codesSince, linkVersions } from "../../infra/link/link-versions.ts";
import { presenceTopic } from "../../infra/topics/topic-presence.ts";
import { EdgeRig, ref } from "../support/edge-rig.ts";
import { FakeClient } from "../support/fake-client.ts";
import { said } from "../support/topic-message.ts";

/** Over a link of version 1, as between a host of this release and one of the last: our own ends of it, both. */
function firstVersionRig(): EdgeRig {
  const rig = new EdgeRig(5);
  rig.versions = firstVersionOnly;
  return rig;
}

test("K19 what an edge is expected to speak may change until there is a channel to it", async () => {
  const rig = new EdgeRig();
  const { clock, edge } = rig;
  let expected = linkVersions.newest;
  const port = new ServedEdge(
    {
      ...{ clock, isGone: () => false, versionOf: () => expected },
      ...{ interrupted: () => undefined, buried: () => undefined, countPublish: () => undefined },
    },
    "p",
    { edge, facts: rig.owner("x", 1).facts, cursors: new Map(), events: {} as never }, // nothing is told
  );
  // Nobody had heard of it; then the directory shows which release it is of.
  expect(port.knowsHistories).toBe(true);
  expected = firstVersionOnly.newest;
  expect(port.knowsHistories).toBe(false);
  const channel = { link: { version: linkVersions.newest }, send: () => true, close: () => undefined };
  port.adopt(channel as never, 0, () => new Map()); // all of a channel that it uses
  expect(port.knowsHistories).toBe(true);
});

describe("K19 an edge of the first version", () => {
  test("hears what is published, without what it does not know", async () => {
    const rig = firstVersionRig();
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    const port = owner.port;
    if (port === undefined) throw new Error("The owner has no port.");
    owner.carrier(client).subscribe("news");
    port.publish(ref.key, said("news", "grüße", "h.1"), 0);
    port.publish(ref.key, said("news", Uint8Array.of(1, 2), "h.2"), 0);
    expect(port.publish(ref.key, said(presenceTopic("news"), "{}"), 0)).toBe(true);
    expect(port.fill("news", { position: "h.3", recovered: true, missed: [] })).toBe(true);
    await rig.settle();
    expect(rig.published.map(([, data]) => data)).toEqual(["grüße", Uint8Array.of(1, 2)]);
    expect(owner.port?.isReachable).toBe(true);
  });

  test("is sent what a subscription has missed like anything else", async () => {
    const rig = firstVersionRig();
    const owner = rig.owner("owner", 1);
    const client = await rig.connect(owner);
    const missed = [
      { data: "one", form: "text", position: "h.1" },
      { data: '{"n":2}', form: "json", position: "h.2" },
    ] as const;
    expect(owner.carrier(client).listen("news", { position: "h.0", recovered: true, missed })).toBe(true);
    await rig.settle();
    expect(client.topics.size).toBe(1);
    expect(client.heard).toEqual(["one", '{"n":2}']);
  });
});

test("K19 an owner of the first version is told all sockets but subscriptions, which are closed to come again", async () => {
  const rig = firstVersionRig();
  const last = rig.owner("last", 1);
  const socket = await rig.connect(last);
  const subscription = new FakeClient(rig.sockets.add(ref));
  const head = {
    kind: "subscription",
    url: "http://x/room/a/-/topics/news",
    target: "/room/a/-/topics/news",
    headers: [],
  } as const;
  last.taken.set(subscription.number, 0);
  rig.held.add(
    subscription.socket,
    { id: "s", remoteAddress: "::1", head, settled: undefined },
    last.process,
  );
  subscription.socket.connected(subscription);
  await rig.settle();
  rig.cut(last);
  const next = rig.owner("next", 2);
  await rig.register(next);
  await rig.settle();
  expect([...next.records.keys()]).toEqual([socket.number]);
  expect(subscription.closing?.[0]).toBe(1012);
  expect(socket.closing).toBeUndefined();
  socket.say("still here");
  await rig.settle();
  expect(next.messages(socket)).toEqual(["still here"]);
});

test("K19 a subscription is not forwarded to a host that does not know them, and the client learns why", () => {
  const why = whyNotForwarded("subscription", 1);
  expect(why).toMatchObject({ code: "version_mismatch", retryable: true });
  expect(why?.message).toContain("speaks version 1");
  expect(whyNotForwarded("subscription", linkVersions.newest)).toBeUndefined();
  for (const kind of ["websocket", "event-stream", undefined] as const)
    expect(whyNotForwarded(kind, 1)).toBeUndefined();
});

test("K19 every error code of a refusal is one that the other host knows, and says alike whether to try again", () => {
  for (const { code } of errorCodes()) {
    const error = new StatefulError(code, "No.");
    const { error: told } = decodeRefusal(encodeRefusal({ error, owner: undefined }, 1));
    expect(codesSince[told.code]).toBeUndefined();
    expect(told.retryable).toBe(error.retryable);
    expect(decodeRefusal(encodeRefusal({ error, owner: undefined }, linkVersions.newest)).error.code).toBe(
      code,
    );
  }
});
