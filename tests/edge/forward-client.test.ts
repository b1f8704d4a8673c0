import { expect, test } from "bun:test";
import { acceptTimeoutMs, forward, ForwardsUnderWay } from "../../infra/edge/forward-client.ts";
import {
  encodeNumbers,
  encodeResponseHead,
  type ForwardHead,
  fromOwner,
} from "../../infra/edge/forward-protocol.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type LinkPair, linkPair } from "../support/link-pair.ts";

function head(method: string): ForwardHead {
  return {
    className: "room",
    id: "a",
    intent: "own",
    method,
    url: "http://edge.example/room/a",
    target: "/room/a",
    headers: [],
    upgrade: undefined,
    socketId: "",
    socketNumber: 0,
    clientAddress: "",
    chain: [],
    isSystem: false,
    body: "none",
  };
}

async function offered(method: string): Promise<{ pair: LinkPair; outcome: Promise<unknown> }> {
  const pair = await linkPair();
  const request = new Request("http://edge.example/room/a", { method });
  const offer = { head: head(method), request, upgraded: undefined, clock: pair.clock };
  const outcome = forward(pair.dialer.link, offer).catch((error) => error);
  await pair.clock.advance(10);
  return { pair, outcome };
}

function ownerOf(pair: LinkPair) {
  const [channel] = pair.acceptor.handlers.channels.values();
  if (channel === undefined) throw new Error("The offer has not arrived.");
  return channel;
}

test.each([
  ["GET", "owner_unreachable"],
  ["POST", "outcome_unknown"],
])("an offer (%s) that is neither accepted nor refused is given up in time: %s", async (method, code) => {
  const { pair, outcome } = await offered(method);
  await pair.clock.advance(acceptTimeoutMs - 100);
  expect(pair.acceptor.handlers.closings()).toEqual([]);
  await pair.clock.advance(200);
  expect(await outcome).toMatchObject({ code });
  expect(pair.acceptor.handlers.closings()).toMatchObject([{ error: { code: "outcome_unknown" } }]);
});

test("an accepted request is waited for, however long its handler takes", async () => {
  const { pair, outcome } = await offered("GET");
  const channel = ownerOf(pair);
  channel.send(fromOwner.accept, encodeNumbers(1));
  await pair.clock.advance(10);
  for (let waited = 0; waited < 3 * acceptTimeoutMs; waited += 1000) await pair.clock.advance(1000);
  expect(pair.acceptor.handlers.closings()).toEqual([]);
  channel.close(new StatefulError("link_overloaded", "by the test"));
  await pair.clock.advance(10);
  expect(await outcome).toMatchObject({ code: "outcome_unknown" });
});

test("E9 an upgrade that nobody asked for ends the conversation, for whoever waits as well", async () => {
  const { pair, outcome } = await offered("GET");
  const channel = ownerOf(pair);
  channel.send(fromOwner.accept, encodeNumbers(1));
  channel.send(fromOwner.upgraded, encodeResponseHead({ status: 200, headers: [] }));
  await pair.clock.advance(10);
  expect(await outcome).toMatchObject({ code: "outcome_unknown" });
  expect(pair.acceptor.handlers.closings()).toMatchObject([{ error: { code: "bad_request" } }]);
});

test("E10 what a link says of itself stays with the cause", async () => {
  const pair = await linkPair();
  pair.dialer.link.close(new StatefulError("owner_unreachable", "by the test"));
  const request = new Request("http://edge.example/room/a");
  const offer = { head: head("GET"), request, upgraded: undefined, clock: pair.clock };
  const error = await forward(pair.dialer.link, offer).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "owner_unreachable" });
  expect(error.message).not.toContain("session-");
  expect(error.cause.message).toContain("session-");
});

test("E16 a request whose host is gone fails at once, whatever its link still believes; others go on", async () => {
  const pair = await linkPair();
  const underWay = new ForwardsUnderWay();
  const send = () => {
    const request = new Request("http://edge.example/room/a");
    const offer = { head: head("GET"), request, upgraded: undefined, clock: pair.clock };
    return forward(pair.dialer.link, offer, underWay).catch((thrown) => thrown);
  };
  const [first, second] = [send(), send()];
  await pair.clock.advance(10);
  const [channel] = pair.acceptor.handlers.channels.values();
  channel?.send(fromOwner.accept, encodeNumbers(1));
  await pair.clock.advance(10);
  underWay.ownersGone(new Set(["session-somebody"]));
  await pair.clock.advance(10);
  expect(pair.acceptor.handlers.closings()).toEqual([]);
  underWay.ownersGone(new Set(["session-acceptor"]));
  expect(await first).toMatchObject({ code: "outcome_unknown" });
  expect(await second).toMatchObject({ code: "owner_unreachable" });
  expect(pair.dialer.link.isOpen).toBe(true);
});
