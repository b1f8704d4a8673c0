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
  type ForwardHead,
  forwardPurpose,
  fromEdge,
  fromOwner,
} from "../../infra/edge/forward-protocol.ts";
import { fromSource, fromTarget, movePurpose } from "../../infra/edge/move-channel.ts";
import { decodeMoveOffer, encodeMoveOffer } from "../../infra/edge/move-offer.ts";
import * as owner from "../../infra/edge/owner-protocol.ts";
import { decodePlainPublish, encodePlainPublish } from "../../infra/edge/plain-publish.ts";
import { decodeHello, encodeHello } from "../../infra/edge/socket-hello.ts";
import * as sockets from "../../infra/edge/socket-protocol.ts";
import {
  decodeHeadOf,
  decodeRoll,
  decodeRollEnd,
  encodeHeadOf,
  encodeRoll,
  encodeRollEnd,
} from "../../infra/edge/socket-records.ts";
import {
  decodePositions,
  decodePublish,
  decodeStartOf,
  encodePositions,
  encodePublish,
  encodeStartOf,
} from "../../infra/edge/topic-protocol.ts";
import type { SocketRecord } from "../../infra/host/edge-port.ts";
import { decodePackage, encodePackage, type MovePackage } from "../../infra/host/move-package.ts";
import { errorCodes, problemDetails, StatefulError } from "../../infra/lib/errors.ts";
import {
  publishDone,
  publishFailure,
  saidOn,
  sentOn,
  subscriptionMessage,
} from "../../infra/object/subscription-message.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { decodeFrames, type Frame, FrameWriter } from "../../infra/link/frame.ts";
import { broughtBy, linkVersions } from "../../infra/link/link-versions.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import {
  decodeRelayHead,
  decodeRelayedHead,
  encodeRelayHead,
  encodeRelayedHead,
  relayedPurpose,
  relayPurpose,
  tunnelKind,
} from "../../infra/link/relay-protocol.ts";
import { socketKinds } from "../../infra/object/event.ts";

type Payload = Uint8Array | string;

/** One message between two hosts. */
export interface Sample {
  readonly name: string;
  /** The version of the links that brought it. */
  readonly since: number;
  /** As a host of ours writes it to a host of that version. */
  write(version: number): Payload;
  /** What a host of ours reads in what a host of that version wrote. */
  read(payload: Payload, version: number): unknown;
  /** What it is to read there. */
  meant(version: number): unknown;
  /** Where a host of ours says more to one of an earlier version than that says itself, which leaves it alone. */
  readonly saysMore?: true;
}

const since = { topics: broughtBy.topicHistories };
const bytes = Uint8Array.of(0, 1, 127, 128, 255);
const text = "grüße, 世界 🌍";
const ref = objectRef("room", "a/b");
const headers = [
  ["accept", "text/plain"],
  ["x-name", text],
] as const;

function bytesOf(payload: Payload): Uint8Array {
  if (typeof payload === "string") throw new TypeError("These are bytes.");
  return payload;
}

/** Of a head, which travels packed inside a frame. */
function head<T>(
  name: string,
  value: T,
  encode: (value: T) => unknown,
  decode: (value: unknown) => unknown,
  from = 1,
): Sample {
  return {
    ...{ name, since: from },
    write: () => packValue(encode(value)),
    read: (payload) => decode(unpackChecked(bytesOf(payload))),
    meant: () => value,
  };
}

function message<T>(
  name: string,
  value: T,
  encode: (value: T) => Payload,
  decode: (payload: Payload) => unknown,
  from = 1,
): Sample {
  return { name, since: from, write: () => encode(value), read: decode, meant: () => value };
}

function frame(name: string, value: Frame, encode: (writer: FrameWriter) => void): Sample {
  return {
    ...{ name: `frame: ${name}`, since: 1 },
    write: () => {
      const writer = new FrameWriter();
      encode(writer);
      return writer.bytes().slice();
    },
    read: (payload) => framesIn(bytesOf(payload))[0],
    meant: () => value,
  };
}

function framesIn(payload: Uint8Array): readonly Frame[] {
  const frames: Frame[] = [];
  decodeFrames(payload, (each) => frames.push(each));
  return frames;
}

// -- links

const windows = { linkWindowBytes: 8, channelWindowBytes: 4, channelDebtBytesMax: 6, messageBytesMax: 16 };
const host = { session: "process.7", hostId: "h1", region: "iad", proof: "cHJvb2Y", dials: 3, ...windows };
const hello: Sample = {
  ...frame("hello", { type: "ping", id: 0 }, (writer) => writer.hello({ versions: linkVersions, ...host })),
  meant: (version) => ({
    type: "hello",
    hello: { versions: version === 1 ? { oldest: 1, newest: 1 } : linkVersions, ...host },
  }),
  saysMore: true,
};
const failure = new StatefulError("queue_full", "Too much.", {
  retryAfterMs: 1500,
  details: { reason: "x" },
});
const links: readonly Sample[] = [
  hello,
  frame("open", { type: "open", channel: 5, purpose: "event", head: ["a", 1, null] }, (writer) =>
    writer.open(5, "event", packValue(["a", 1, null])),
  ),
  frame("data", { type: "data", channel: 5, kind: 18, text: false, more: true, bytes }, (writer) =>
    writer.data(5, 18, bytes, false, true),
  ),
  frame(
    "text",
    { type: "data", channel: 5, kind: 3, text: true, more: false, bytes: new TextEncoder().encode(text) },
    (writer) => writer.shortText(5, 3, text),
  ),
  frame("credit", { type: "credit", channel: 5, bytes: 70_000 }, (writer) => writer.credit(5, 70_000)),
  frame("close", { type: "close", channel: 5, error: failure }, (writer) => writer.close(5, failure)),
  frame("goodbye", { type: "close", channel: 0, error: undefined }, (writer) => writer.close(0, undefined)),
  frame("ping", { type: "ping", id: 4_000_000_000 }, (writer) => writer.ping(4_000_000_000)),
  frame("pong", { type: "pong", id: 1 }, (writer) => writer.pong(1)),
  head("relay", { target: "process.9", headers: new Map(headers) }, encodeRelayHead, decodeRelayHead),
  head("relayed", new Map(headers), encodeRelayedHead, decodeRelayedHead),
];

// -- forwarded requests

const forwarded: ForwardHead = {
  ...{ className: "room", id: "a/b", intent: "own", method: "POST", url: "http://x/room/a%2Fb/say?q=1" },
  ...{ target: "/room/a%2Fb/say?q=1", headers, upgrade: undefined, socketId: "", socketNumber: 0 },
  ...{ clientAddress: "::1", chain: ["room/c"], isSystem: false, body: bytes },
};
const forwards: readonly Sample[] = [
  head("forward", forwarded, encodeForwardHead, decodeForwardHead),
  head(
    "forward, placed, streamed",
    { ...forwarded, intent: "place", body: "stream" },
    encodeForwardHead,
    decodeForwardHead,
  ),
  head(
    "forward, upgrade",
    { ...forwarded, method: "GET", upgrade: "websocket", socketId: "s1", socketNumber: 9, body: "none" },
    encodeForwardHead,
    decodeForwardHead,
  ),
  head("forward, system", { ...forwarded, isSystem: true }, encodeForwardHead, decodeForwardHead),
  head(
    "forward, subscription",
    { ...forwarded, method: "GET", upgrade: "subscription", socketId: "s1", socketNumber: 9, body: "none" },
    encodeForwardHead,
    decodeForwardHead,
    broughtBy.subscriptions,
  ),
  message("accept", 41, (epoch) => encodeNumbers(epoch), decodeNumber),
  message("response", { status: 206, headers }, encodeResponseHead, (payload) =>
    decodeResponseHead(bytesOf(payload)),
  ),
  message(
    "whole",
    { head: { status: 200, headers }, body: bytes },
    ({ head: first, body }) => encodeWhole(first, body),
    (payload) => decodeWhole(bytesOf(payload)),
  ),
  refusal("refusal", failure, "queue_full"),
  refusal("refusal, later code", new StatefulError("version_mismatch", "No."), "owner_unreachable"),
];

function refusal(name: string, error: StatefulError, atFirst: string): Sample {
  return {
    ...{ name, since: 1 },
    write: (version) => encodeRefusal({ error, owner: { session: "process.8", epoch: 42 } }, version),
    read: (payload) => {
      const { error: told, owner: there } = decodeRefusal(bytesOf(payload));
      return {
        code: told.code,
        message: told.message,
        retryAfterMs: told.retryAfterMs,
        details: told.details,
        owner: there,
      };
    },
    meant: (version) => ({
      code: version === 1 ? atFirst : error.code,
      message: error.message,
      retryAfterMs: error.retryAfterMs,
      details: error.details,
      owner: { session: "process.8", epoch: 42 },
    }),
  };
}

// -- attachments

const record: SocketRecord = {
  ...{ number: 7, id: "socket-7", remoteAddress: "::1", kind: "websocket", phase: "opened" },
  ...{ subscriptions: ["news", "chat"], tags: ["vip"], attachment: bytes, handled: 12 },
  presence: [["chat", { data: '{"name":"ann"}', watches: true }]],
};
const registration = {
  className: "room",
  id: "a/b",
  intent: "place",
  isAsleep: true,
  epoch: 41,
  port: "p1",
  applied: 64,
} as const;
const name = { className: "room", id: "a/b" };
const start = {
  position: "4kT9w2.17",
  recovered: true,
  missed: [
    { data: '{"n":1}', form: "json", position: "4kT9w2.18" },
    { data: text, form: "text", position: "4kT9w2.19" },
    { data: bytes, form: "bytes", position: "4kT9w2.20" },
  ],
  slowReaders: "conflate",
  presence: { data: '{"name":"ann"}', watches: true, snapshot: '{"count":1}' },
} as const;
const attachments: readonly Sample[] = [
  head(
    "sockets, from the owner",
    { opener: "owner", ...name },
    sockets.encodeOwnerHead,
    sockets.decodeAttachmentHead,
  ),
  head(
    "sockets, from the edge",
    { opener: "edge", ...registration },
    sockets.encodeEdgeHead,
    sockets.decodeAttachmentHead,
  ),
  message(
    "hello of an owner",
    {
      ...{
        epoch: 41,
        session: "process.8",
        port: "p2",
        after: 3,
        upTo: 9,
        redeliver: true,
        wakeOnClose: false,
      },
      autoResponse: { request: "ping", response: "pong" },
      before: { port: "p1", count: 8 },
      cursors: new Map([[7, 12]]),
    },
    encodeHello,
    decodeHello,
  ),
  {
    ...{ name: "roll", since: 1, saysMore: true },
    write: () => encodeRoll([record], "all")[0] ?? "",
    read: (payload) => decodeRoll(payload),
    meant: (version) => ({ scope: "all", records: [version === 1 ? { ...record, presence: [] } : record] }),
  },
  message("end of a roll", "missing" as const, encodeRollEnd, decodeRollEnd),
  message(
    "upgrade",
    {
      number: 7,
      head: { kind: "event-stream" as const, url: "http://x/room/a/t", target: "/room/a/t", headers },
    },
    ({ number, head: upgrade }) => encodeHeadOf(number, upgrade),
    decodeHeadOf,
  ),
  message(
    "message, text",
    { number: 71, message: text },
    (said) => sockets.encodeNumberedText(said.number, said.message),
    sockets.decodeNumbered,
  ),
  message(
    "message, bytes",
    { number: 71, message: bytes },
    (said) => sockets.encodeNumberedBytes(said.number, said.message),
    sockets.decodeNumbered,
  ),
  message("applied", 128, sockets.encodeCount, sockets.decodeCount),
  message(
    "subscribe",
    { number: 7, topic: text },
    (said) => sockets.encodeTopicOf(said.number, said.topic),
    sockets.decodeTopicOf,
  ),
  message("close", { number: 7, code: 4401, reason: text }, sockets.encodeCloseOf, sockets.decodeCloseOf),
  message(
    "ping of a socket",
    { number: 7, message: bytes },
    (said) => sockets.encodeControl(said.number, said.message),
    sockets.decodeControl,
  ),
  message(
    "handled",
    [
      [7, 2],
      [8, 1],
    ] as const,
    (pairs) => sockets.encodeHandled(pairs.flat()),
    sockets.decodeHandled,
  ),
  message("keep", { number: 7, attachment: bytes, tags: ["vip"] }, sockets.encodeKeep, sockets.decodeKeep),
  message("moved", { session: "process.9", epoch: 42 }, sockets.encodeMoved, sockets.decodeMoved),
  publish("publish, text", text, "text"),
  publish("publish, JSON", '{"n":1}', "json"),
  publish("publish, bytes", bytes, "bytes"),
  message("listen", { number: 7, topic: "chat", start }, encodeStartOf, decodeStartOf, since.topics),
  message("positions", new Map([["chat", "4kT9w2.20"]]), encodePositions, decodePositions, since.topics),
];

function publish(title: string, data: Payload, form: "text" | "json" | "bytes"): Sample {
  const said = { message: { topic: "chät", data, form, position: "4kT9w2.18" }, except: 7 };
  const isPlain = (version: number) => version < broughtBy.topicHistories;
  return {
    ...{ name: title, since: 1 },
    write: (version) => (isPlain(version) ? encodePlainPublish(said) : encodePublish(said)),
    read: (payload, version) => (isPlain(version) ? decodePlainPublish(payload) : decodePublish(payload)),
    meant: (version) => {
      if (!isPlain(version)) return said;
      const plain = { ...said.message, form: form === "json" ? "text" : form, position: undefined };
      return { ...said, message: plain };
    },
  };
}

// -- moves, and what is asked of an owner

const moving: MovePackage = {
  ...{
    state: { count: 3n, at: new Map([["a", 1]]) },
    version: 2,
    carried: [1, "two"],
    sinceMs: 1000,
    nextAlarmMs: 2000,
  },
  stored: {
    loaded: {
      values: new Map([
        ["k", bytes],
        ["large", undefined],
      ]),
      isComplete: true,
      alarms: new Map(),
      hasAllAlarms: true,
    },
    record: bytes,
  },
  edges: [
    {
      edge: { process: "process", hostId: "h1", region: "iad" },
      records: [record],
      lastWord: { port: "p1", count: 8 },
    },
  ],
  note: { reason: "drain", traffic: undefined, followed: undefined },
};
const moves: readonly Sample[] = [
  head(
    "offer of a move",
    {
      ref,
      epoch: 41,
      toSession: "process.9",
      dataVersion: 2,
      codeVersion: "v7",
      edges: [{ process: "process", hostId: "h1", region: "iad" }],
    },
    encodeMoveOffer,
    decodeMoveOffer,
  ),
  {
    ...{ name: "package of a move", since: 1, saysMore: true },
    write: () => encodePackage(moving),
    read: (payload) => decodePackage(bytesOf(payload)),
    meant: (version) =>
      version === 1
        ? {
            ...moving,
            edges: moving.edges.map((edge) => ({ ...edge, records: [{ ...record, presence: [] }] })),
          }
        : moving,
  },
  head(
    "question: move",
    { question: "move", ref, intent: "own", wish: { region: "ams" } } as const,
    owner.encodeQuestion,
    owner.decodeQuestion,
  ),
  head(
    "question: explain",
    { question: "explain", ref } as const,
    owner.encodeQuestion,
    owner.decodeQuestion,
  ),
  message(
    "answer: moved",
    {
      from: { hostId: "h1", region: "iad" },
      to: { hostId: "h2", region: "ams" },
      session: "process.9",
      epoch: 42,
      pauseMs: 12.5,
    },
    owner.encodeMoved,
    (payload) => owner.decodeMoved(bytesOf(payload)),
  ),
  message(
    "answer: account",
    {
      owner: {
        hostId: "h1",
        region: "iad",
        epoch: 41,
        sinceMs: 1000,
        reason: "move",
        movedFor: "follow" as const,
      },
      ...{ life: undefined, isAsleep: true, awake: { events: 0, timers: 2 }, edges: 1, sockets: undefined },
    },
    owner.encodeAccount,
    (payload) => owner.decodeAccount(bytesOf(payload)),
  ),
];

// -- subscriptions, whose messages travel as those of any socket

const problem = new StatefulError("invalid_input", "No.");
const subscriptions: readonly Sample[] = (
  [
    { payload: { data: '{"n":1}', form: "json" }, ref: 12 },
    { payload: { data: text, form: "text" }, ref: undefined },
    { payload: { data: bytes, form: "bytes" }, ref: 7 },
  ] as const
)
  .map((said) =>
    message(
      `publish of a client: ${said.payload.form}`,
      said,
      ({ payload, ref }) => subscriptionMessage(payload, ref),
      saidOn,
      broughtBy.subscriptions,
    ),
  )
  .concat(
    message(
      "publish that is done",
      { type: "published", ref: 12, position: "4kT9w2.17" },
      ({ ref, position }) => publishDone(ref, position),
      sentOn,
      broughtBy.subscriptions,
    ),
    message(
      "publish that is not taken",
      { type: "failed", ref: 12, error: problemDetails(problem) },
      ({ ref }) => publishFailure(problem, ref),
      sentOn,
      broughtBy.subscriptions,
    ),
  );

/** The numbers and names that stand for things: a new one is a change like any other. */
const names: Sample = {
  ...{ name: "names", since: 1 },
  write: () =>
    JSON.stringify({
      purposes: [
        forwardPurpose,
        sockets.socketsPurpose,
        movePurpose,
        owner.ownerPurpose,
        relayPurpose,
        relayedPurpose,
      ],
      forward: { ...fromEdge, ...prefixed("owner", fromOwner) },
      sockets: { toEdge: sockets.toEdge, toOwner: sockets.toOwner },
      moves: { fromSource, fromTarget },
      owner: owner.fromOwner,
      tunnel: tunnelKind,
      socketKinds,
      errors: errorCodes().map(({ code }) => code),
    }),
  read: (payload) => payload,
  meant: () => names.write(linkVersions.newest),
};

function prefixed(prefix: string, kinds: Readonly<Record<string, number>>) {
  return Object.fromEntries(Object.entries(kinds).map(([kind, number]) => [`${prefix} ${kind}`, number]));
}

/** Every kind of message that hosts of ours write to each other. */
export const samples: readonly Sample[] = [
  ...[...links, ...forwards, ...attachments, ...moves],
  ...[...subscriptions, names],
];
