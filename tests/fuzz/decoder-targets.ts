import { readClientFrame } from "../../infra/edge/client-frames.ts";
import { withHello } from "../../infra/edge/connect-headers.ts";
import {
  decodeForwardHead,
  decodeNumber,
  decodeRefusal,
  decodeResponseHead,
  decodeWhole,
  encodeForwardHead,
  encodeNumbers,
  encodeRefusal,
  encodeResponseHead,
  encodeWhole,
} from "../../infra/edge/forward-protocol.ts";
import { decodeMoveOffer, encodeMoveOffer } from "../../infra/edge/move-offer.ts";
import { parseObjectTarget, quickKey } from "../../infra/edge/object-target.ts";
import {
  decodeAccount,
  decodeMoved as decodeMovedObject,
  decodeQuestion,
  encodeAccount,
  encodeMoved as encodeMovedObject,
  encodeQuestion,
} from "../../infra/edge/owner-protocol.ts";
import { decodeHello, encodeHello } from "../../infra/edge/socket-hello.ts";
import * as sockets from "../../infra/edge/socket-protocol.ts";
import { decodeHeadOf, decodeRoll, encodeHeadOf, encodeRoll } from "../../infra/edge/socket-records.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { subscriptionAddress } from "../../infra/edge/subscription-address.ts";
import {
  decodePositions,
  decodePublish,
  decodeStartOf,
  encodePositions,
  encodePublish,
  encodeStartOf,
} from "../../infra/edge/topic-protocol.ts";
import { decodePackage, encodePackage } from "../../infra/host/move-package.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { decodeFrames, FrameWriter, LinkProtocolError } from "../../infra/link/frame.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import {
  decodeRelayedHead,
  decodeRelayHead,
  encodeRelayedHead,
  encodeRelayHead,
} from "../../infra/link/relay-protocol.ts";
import { nextDueMs } from "../../infra/storage/alarm-schedule.ts";
import { decodeRecord, decodeValue, encodeRecord, encodeValue } from "../../infra/storage/storage-codec.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { Target } from "./fuzz-decoder.ts";
import { type Input, randomBytes, randomText, randomValue } from "./mutation.ts";

const isOurs = (thrown: unknown) => thrown instanceof StatefulError && thrown.code !== "internal";
const isBadRequest = (thrown: unknown) => thrown instanceof StatefulError && thrown.code === "bad_request";
/** What is stored, and what an operator sends, is decoded by MessagePack's library, which throws errors of its own. */
const isAnyError = (thrown: unknown) => thrown instanceof Error;

const bytes = (input: Input): Uint8Array =>
  typeof input === "string" ? new TextEncoder().encode(input) : input;
const text = (input: Input): string => (typeof input === "string" ? input : Buffer.from(input).toString());
const count = (random: SeededRandom) =>
  random.pick([0, 1, 7, 255, 65_536, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER]);
const number = (random: SeededRandom) => random.between(0, 2 ** 32 - 1);
const texts = (random: SeededRandom) =>
  Array.from({ length: random.between(0, 3) }, () => randomText(random));
const pairs = (random: SeededRandom) =>
  texts(random).map((each): [string, string] => [each, randomText(random)]);
const data = (random: SeededRandom) => (random.isLucky(0.5) ? randomText(random) : randomBytes(random, 50));
const place = (random: SeededRandom) => `${randomText(random, 1)}.${random.between(0, 99)}`;

/** A decoder of payloads between hosts, which takes text and bytes. */
function between(
  name: string,
  valid: (random: SeededRandom) => Input,
  read: (input: Input) => unknown,
): Target {
  return { name: `K2 ${name}`, valid, read, refuses: isBadRequest };
}

/** … of the head of a channel, which comes unpacked. */
function head(
  name: string,
  valid: (random: SeededRandom) => unknown,
  read: (value: unknown) => unknown,
): Target {
  return {
    name: `K2 ${name}`,
    valid: (random) => packValue(valid(random)),
    read: (input) => read(unpacked(bytes(input))),
    refuses: (thrown) => isBadRequest(thrown) || thrown instanceof NotPacked,
  };
}

class NotPacked extends Error {}

function unpacked(packed: Uint8Array): unknown {
  try {
    return unpackChecked(packed);
  } catch (cause) {
    if (cause instanceof Error)
      throw new NotPacked("Its structure is refused before anything reads it.", { cause });
    throw cause;
  }
}

// -- links

function frames(random: SeededRandom): Uint8Array {
  const writer = new FrameWriter();
  const channel = random.between(1, 9);
  writer.open(channel, "event", packValue(randomValue(random)));
  writer.data(
    channel,
    random.between(0, 255),
    randomBytes(random, 60),
    random.isLucky(0.5),
    random.isLucky(0.2),
  );
  writer.credit(channel, number(random));
  writer.ping(number(random));
  writer.close(
    channel,
    random.isLucky(0.5)
      ? new StatefulError("bad_request", randomText(random), { details: { a: 1 } })
      : undefined,
  );
  return writer.bytes();
}

function readFrames(input: Input): unknown {
  const seen: unknown[] = [];
  decodeFrames(bytes(input), (frame) => seen.push("head" in frame ? frame.head : frame.type));
  return seen;
}

const peer = { session: "dialer", hostId: "dialer", region: "iad" };
const self = { session: "target", hostId: "target", region: "ams" };
const secret = new LinkSecret(["the-secret-of-this-cluster", "the-one-before-it"], systemClock);
const stranger = new LinkSecret(["a-secret-of-another-cluster"], systemClock);

/** Signed by a stranger: whatever becomes of it, it must not be let in. */
function dial(random: SeededRandom): string {
  return stranger.sign(peer, self.session, random.between(0, 9)).headers.authorization ?? "";
}

function readDial(input: Input): unknown {
  const answer = secret.verify({ get: (name) => (name === "authorization" ? text(input) : "1") }, self);
  if (answer instanceof StatefulError) throw answer;
  throw new TypeError("A stranger was let in.");
}

const links: readonly Target[] = [
  {
    name: "K2 frames of a link",
    valid: frames,
    read: readFrames,
    refuses: (thrown) => thrown instanceof LinkProtocolError,
  },
  { name: "K10 the authorization of a link", valid: dial, read: readDial, refuses: isOurs },
  {
    name: "K2 MessagePack",
    valid: (random) => packValue(randomValue(random)),
    read: (input) => unpackChecked(bytes(input)),
    refuses: isAnyError,
  },
  head(
    "K15 head of a relay",
    (random) => encodeRelayHead({ target: randomText(random), headers: new Map(pairs(random)) }),
    decodeRelayHead,
  ),
  head(
    "K15 head of a relayed link",
    (random) => encodeRelayedHead(new Map(pairs(random))),
    decodeRelayedHead,
  ),
];

// -- what hosts say to each other

const owner = { hostId: "a", region: "iad", epoch: 7 };
const forwardHead = (random: SeededRandom) =>
  encodeForwardHead({
    ...{
      className: "room",
      id: randomText(random),
      intent: "own",
      method: "POST",
      url: "http://a/room/b",
      target: "/room/b",
    },
    ...{
      headers: pairs(random),
      upgrade: random.isLucky(0.5) ? "websocket" : undefined,
      socketId: "s",
      socketNumber: number(random),
    },
    ...{
      clientAddress: "::1",
      chain: texts(random),
      isSystem: false,
      body: random.pick(["none", randomBytes(random, 30)]),
    },
  });
const responseHead = (random: SeededRandom) => ({ status: random.between(200, 599), headers: pairs(random) });
const message = (random: SeededRandom) => {
  const said = data(random);
  const form = typeof said === "string" ? random.pick(["text", "json"] as const) : "bytes";
  return { topic: randomText(random), data: said, form, position: place(random) } as const;
};
const start = (random: SeededRandom) => ({
  ...{
    position: place(random),
    recovered: random.isLucky(0.5),
    missed: texts(random).map((each) => ({ data: each, form: "text" as const, position: place(random) })),
  },
  presence: { data: randomText(random), watches: true, snapshot: randomText(random) },
});
const hello = (random: SeededRandom) =>
  encodeHello({
    ...{
      epoch: count(random),
      session: "s.1",
      port: "p",
      after: 1,
      upTo: 9,
      redeliver: true,
      wakeOnClose: false,
    },
    ...{
      autoResponse: { request: "ping", response: "pong" },
      cursors: new Map([[number(random), count(random)]]),
    },
    before: random.isLucky(0.5) ? { port: "q", count: 3 } : undefined,
  });
const record = (random: SeededRandom) => ({
  ...{
    number: number(random),
    id: "s",
    remoteAddress: "::1",
    kind: "websocket" as const,
    phase: "opened" as const,
  },
  ...{
    subscriptions: texts(random),
    presence: [],
    tags: texts(random),
    attachment: randomBytes(random, 30),
    handled: count(random),
  },
});
const roll = (random: SeededRandom) =>
  encodeRoll([record(random), record(random)], "all")[0] ?? new Uint8Array();
const upgradeHead = (random: SeededRandom) => ({
  kind: "websocket" as const,
  url: "http://a/room/b/live",
  target: "/room/b/live",
  headers: pairs(random),
});

const hosts: readonly Target[] = [
  head("E12 head of a forwarded event", forwardHead, decodeForwardHead),
  between(
    "head of a response",
    (random) => encodeResponseHead(responseHead(random)),
    (input) => decodeResponseHead(bytes(input)),
  ),
  between(
    "whole response",
    (random) => encodeWhole(responseHead(random), randomBytes(random, 40)),
    (input) => decodeWhole(bytes(input)),
  ),
  between(
    "refusal",
    (random) =>
      encodeRefusal(
        {
          error: new StatefulError("not_owner", randomText(random)),
          owner: { session: "s.1", epoch: 3 },
        },
        linkVersions.newest,
      ),
    (input) => decodeRefusal(bytes(input)),
  ),
  between("number", (random) => encodeNumbers(count(random)), decodeNumber),
  head(
    "head of an attachment",
    (random) =>
      sockets.encodeEdgeHead({
        className: "room",
        id: randomText(random),
        intent: "own",
        isAsleep: false,
        epoch: count(random),
        port: "p",
        applied: count(random),
      }),
    sockets.decodeAttachmentHead,
  ),
  between("hello of an owner", hello, decodeHello),
  between(
    "message of a socket",
    (random) =>
      random.isLucky(0.5)
        ? sockets.encodeNumberedText(number(random), randomText(random))
        : sockets.encodeNumberedBytes(number(random), randomBytes(random, 40)),
    sockets.decodeNumbered,
  ),
  between(
    "topic of a socket",
    (random) => sockets.encodeTopicOf(number(random), randomText(random)),
    sockets.decodeTopicOf,
  ),
  between(
    "close of a socket",
    (random) => sockets.encodeCloseOf({ number: number(random), code: 1000, reason: randomText(random) }),
    sockets.decodeCloseOf,
  ),
  between(
    "ping of a socket",
    (random) => sockets.encodeControl(number(random), data(random)),
    sockets.decodeControl,
  ),
  between(
    "cursors",
    (random) => sockets.encodeHandled([number(random), number(random)]),
    sockets.decodeHandled,
  ),
  between(
    "what is kept with a socket",
    (random) =>
      sockets.encodeKeep({
        number: number(random),
        attachment: randomBytes(random, 30),
        tags: texts(random),
      }),
    sockets.decodeKeep,
  ),
  between(
    "word of a move",
    (random) => sockets.encodeMoved({ session: "s.1", epoch: count(random) }),
    sockets.decodeMoved,
  ),
  between("roll of sockets", roll, decodeRoll),
  between("head of an upgrade", (random) => encodeHeadOf(number(random), upgradeHead(random)), decodeHeadOf),
  between(
    "publish",
    (random) => encodePublish({ message: message(random), except: number(random) }),
    decodePublish,
  ),
  between(
    "start of a subscription",
    (random) => encodeStartOf({ number: number(random), topic: randomText(random), start: start(random) }),
    decodeStartOf,
  ),
  between(
    "positions",
    (random) => encodePositions(new Map([[randomText(random), place(random)]])),
    decodePositions,
  ),
  head(
    "question to an owner",
    () =>
      encodeQuestion({
        question: "move",
        ref: objectRef("room", "a b"),
        intent: "own",
        wish: { region: "nrt" },
      }),
    decodeQuestion,
  ),
  between(
    "answer about a move",
    (random) =>
      encodeMovedObject({ from: owner, to: owner, session: "s.1", epoch: count(random), pauseMs: 4 }),
    (input) => decodeMovedObject(bytes(input)),
  ),
  between(
    "account of an owner",
    (random) =>
      encodeAccount({
        owner,
        life: undefined,
        isAsleep: true,
        awake: { events: 1, timers: 0 },
        edges: 1,
        sockets: count(random),
      }),
    (input) => decodeAccount(bytes(input)),
  ),
  head(
    "E24 offer of a move",
    (random) =>
      encodeMoveOffer({
        ref: objectRef("room", "a b"),
        epoch: count(random),
        toSession: "s.1",
        dataVersion: 1,
        codeVersion: "v",
        edges: [{ process: "p", hostId: "e", region: "nrt" }],
      }),
    decodeMoveOffer,
  ),
];

// -- what is stored, and what operators and moving objects bring

const kept = { list: [1, "two", null], at: new Date(0), map: new Map([["k", new Set([1n])]]) };
const keptBytes = encodeValue(kept, "It", 1000);

/** A decoder that remembers something of one value for the next is one object's way to another. */
function isReadAlone(): void {
  if (!Bun.deepEquals(decodeValue(keptBytes), kept, true))
    throw new TypeError("A value is read differently after others.");
  if (!Bun.deepEquals(decodeValue(encodeValue(kept, "It", 1000)), kept, true))
    throw new TypeError("A value is written differently after others.");
}

function storable(random: SeededRandom): unknown {
  for (;;) {
    const value = randomValue(random);
    try {
      return encodeValue(value, "It", 100_000) && value;
    } catch {
      // It has a field that cannot be stored.
    }
  }
}

const movedObject = (random: SeededRandom) =>
  encodePackage({
    ...{
      state: { list: [storable(random)] },
      version: 1,
      carried: storable(random),
      edges: [],
      sinceMs: 1,
      nextAlarmMs: undefined,
    },
    stored: {
      loaded: {
        values: new Map([["k", randomBytes(random, 20)]]),
        isComplete: true,
        alarms: new Map(),
        hasAllAlarms: true,
      },
      record: encodeRecord({ version: 1, state: {} }),
    },
  } as Parameters<typeof encodePackage>[0]); // what else it may have is for later hosts

const stored: readonly Target[] = [
  {
    name: "S9 stored values",
    valid: (random) => encodeValue(storable(random), "It", 100_000),
    read: (input) => decodeValue(bytes(input)),
    refuses: isAnyError,
    check: isReadAlone,
  },
  {
    name: "S9 records of objects",
    valid: (random) => encodeRecord({ version: 1, state: storable(random) }),
    read: (input) => decodeRecord(bytes(input)),
    refuses: isAnyError,
    check: isReadAlone,
  },
  {
    name: "S9 E24 packages of objects that move",
    valid: movedObject,
    read: (input) => decodePackage(bytes(input)),
    refuses: isAnyError,
    check: isReadAlone,
  },
  {
    name: "S9 schedules of alarms",
    valid: () => '{"cron":"0 8 * * 1-5","timeZone":"Europe/Berlin"}',
    read: (input) => nextDueMs(text(input), 0, 1_700_000_000_000),
    refuses: isAnyError,
  },
];

// -- what clients say

function clientFrame(random: SeededRandom): string {
  const id = random.between(1, 9);
  return JSON.stringify(
    random.pick([
      { type: "hello", headers: Object.fromEntries(pairs(random)) },
      {
        type: "subscribe",
        id,
        object: `room/${encodeURIComponent(randomText(random))}`,
        topic: randomText(random),
        since: "a.1",
        query: "a=1",
      },
      { type: "publish", id, data: randomText(random) },
      { type: "publish", id, bytes: "AAEC" },
      { type: "unsubscribe", id },
    ]),
  );
}

function readFrame(input: Input): unknown {
  const frame = readClientFrame(text(input));
  if (frame.type === "hello") return withHello([["cookie", "a=1"]], frame.headers, ["fly-client-ip"]);
  if (frame.type !== "subscribe") return frame;
  const { ref, target } = subscriptionAddress("http://edge.example", frame);
  if (parseObjectTarget(`http://edge.example${target}`).ref.key !== ref.key)
    throw new TypeError("The address is another object's.");
  return frame;
}

function readUrl(input: Input): unknown {
  const url = `http://edge.example${text(input)}`;
  const { ref, target } = parseObjectTarget(url);
  const quick = quickKey(target);
  if (quick !== ref.key && quick !== undefined && isKey(quick))
    throw new TypeError(`${quick} is looked up for ${ref.key}.`);
  return ref;
}

/** Whether an object could be found under it. */
function isKey(key: string): boolean {
  try {
    const [className = "", id = "", ...rest] = key.split("/");
    return rest.length === 0 && objectRef(className, decodeURIComponent(id)).key === key;
  } catch {
    return false;
  }
}

const clients: readonly Target[] = [
  { name: "E30 E31 frames of clients", valid: clientFrame, read: readFrame, refuses: isOurs },
  {
    name: "E1 addresses",
    valid: (random) => `/room/${encodeURIComponent(randomText(random))}/live?${randomText(random)}`,
    read: readUrl,
    refuses: isOurs,
  },
];

export const decoderTargets: readonly Target[] = [...links, ...hosts, ...stored, ...clients];
