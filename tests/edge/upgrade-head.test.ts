import { expect, test } from "bun:test";
import { ChannelSender } from "../../infra/edge/channel-sender.ts";
import { Dispatcher, type DispatcherSetup } from "../../infra/edge/dispatcher.ts";
import { EdgeSockets } from "../../infra/edge/edge-sockets.ts";
import { anyAddress } from "../support/any-address.ts";
import { keptHeadsBytesMax, upgradeHeadBytesMax, upgradeHeadOf } from "../../infra/edge/upgrade-head.ts";
import { partLengthMax } from "../../infra/edge/message-parts.ts";
import { encodeHeadOf } from "../../infra/edge/socket-records.ts";
import { headBytesOf } from "../../infra/host/waiting-heads.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { Channel } from "../../infra/link/link.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const target = "/room/a/live";

function upgradeRequest(cookieLength: number, cookie = "c"): Request {
  const headers = { upgrade: "websocket", cookie: cookie.repeat(cookieLength) };
  return new Request(`http://x${target}`, { headers });
}

/** The longest cookie with which an upgrade is taken. */
const longestCookie =
  upgradeHeadBytesMax - headBytesOf(upgradeHeadOf("websocket", upgradeRequest(1), target)) + 1;

function edgeSockets(): EdgeSockets {
  return new EdgeSockets({
    addresses: anyAddress,
    ...{ clock: new VirtualClock(), socketsMax: 1_000_000, backpressureLimitBytes: 1000 },
    ...{ seek: () => undefined, owns: () => undefined, publishNatively: () => undefined },
  });
}

/** An upgrade at the edge of a host on which nothing lives. */
async function answerTo(request: Request, sockets: EdgeSockets): Promise<Response | undefined> {
  const known = { sockets, table: { live: () => undefined }, originsOf: () => undefined, log: silentLog };
  // An upgrade that is refused for its head asks for nothing else.
  const setup = known as unknown as DispatcherSetup;
  const frontend = { upgrade: () => false, clientAddress: () => "::1" };
  return new Dispatcher(setup).handle(request, frontend);
}

test("a head of the limit is kept, and is one message of a link whatever its characters are", () => {
  const head = upgradeHeadOf("websocket", upgradeRequest(longestCookie, "\u00e9"), target);
  expect(headBytesOf(head)).toBe(upgradeHeadBytesMax);
  expect(encodeHeadOf(1, head).length).toBeLessThan(partLengthMax);
});

test("an upgrade with a longer head is refused with 431, says what to do, and takes no place", async () => {
  const sockets = edgeSockets();
  const response = await answerTo(upgradeRequest(longestCookie + 1), sockets);
  expect(response?.status).toBe(431);
  expect(await response?.json()).toMatchObject({
    code: "headers_too_large",
    retryable: false,
    detail: expect.stringContaining(`${upgradeHeadBytesMax + 1} bytes`),
  });
  expect(sockets.size).toBe(0);
});

test("an edge that keeps all the heads it may takes no more clients until one has left", async () => {
  const sockets = edgeSockets();
  const ref = objectRef("room", "a");
  const all = Array.from({ length: keptHeadsBytesMax / upgradeHeadBytesMax }, () =>
    sockets.add(ref, upgradeHeadBytesMax),
  );
  const response = await answerTo(upgradeRequest(1), sockets);
  expect([response?.status, await response?.json()]).toMatchObject([503, { code: "host_full" }]);
  all[0]?.disconnected(1006, "");
  expect(sockets.isFull).toBe(false);
  sockets.stop();
});

test("heads that wait for room on a channel wait as they are kept: their bytes are made when they go", async () => {
  const sent: unknown[] = [];
  let room = 0;
  let made = Promise.withResolvers<void>();
  const channel = {
    isOpen: true,
    send: (kind: number, payload: unknown) => room-- > 0 && sent.push([kind, payload]) > 0,
    writable: () => made.promise,
  } as unknown as Channel; // the three that a sender uses
  const cleared = Promise.withResolvers<void>();
  const sender = new ChannelSender(channel, cleared.resolve);
  let encoded = 0;
  const late = (text: string) => () => {
    encoded++;
    return text;
  };
  for (const text of ["a", "b", "c"]) sender.sendLate(1, late(text));
  sender.send(2, "last");
  expect([encoded, sender.isClear]).toEqual([1, false]);
  room = 1;
  const first = made;
  made = Promise.withResolvers();
  first.resolve();
  await first.promise;
  expect([sent, encoded]).toEqual([[[1, "a"]], 3]);
  room = 10;
  made.resolve();
  await cleared.promise;
  expect(sent).toEqual([
    [1, "a"],
    [1, "b"],
    [1, "c"],
    [2, "last"],
  ]);
});
