import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type AttachmentHead,
  decodeAttachmentHead,
  decodeCloseOf,
  decodeControl,
  decodeCount,
  decodeHandled,
  decodeKeep,
  decodeMoved,
  decodeNumbered,
  decodeTopicOf,
  encodeCloseOf,
  encodeControl,
  encodeCount,
  encodeEdgeHead,
  encodeHandled,
  encodeKeep,
  encodeMoved,
  encodeNumberedBytes,
  encodeNumberedText,
  encodeOwnerHead,
  encodeTopicOf,
  type Payload,
} from "../../infra/edge/socket-protocol.ts";
import { decodeHello, encodeHello, type Hello } from "../../infra/edge/socket-hello.ts";
import {
  decodeHeadOf,
  decodeRoll,
  decodeRollEnd,
  encodeHeadOf,
  encodeRoll,
  encodeRollEnd,
} from "../../infra/edge/socket-records.ts";
import { PublishEncoder } from "../../infra/edge/publish-encoder.ts";
import type { SocketRecord } from "../../infra/host/edge-port.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { expectSound } from "../support/sound.ts";
import {
  decodePositions,
  decodePublish,
  decodeStartOf,
  encodePositions,
  encodePublish,
  encodeStartOf,
} from "../../infra/edge/topic-protocol.ts";
import type { MessageForm } from "../../infra/topics/topic-message.ts";
import { said } from "../support/topic-message.ts";

const text = fc.string({ unit: "binary", maxLength: 30 }).filter((value) => value.isWellFormed());
const bytes = fc.uint8Array({ maxLength: 200 });
const data = fc.oneof(text, bytes);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const number = fc.nat({ max: 0xffff_ffff });
const position = fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: undefined });
const payload = fc.oneof(
  fc.record({ data: text, form: fc.constantFrom<MessageForm>("text", "json") }),
  fc.record({ data: bytes, form: fc.constant<MessageForm>("bytes") }),
);
const topicMessage = fc
  .tuple(payload, text, position)
  .map(([said, topic, place]) => ({ ...said, topic, position: place }));
const start = fc.record({
  position,
  recovered: fc.option(fc.boolean(), { nil: undefined }),
  missed: fc.array(fc.tuple(payload, text).map(([said, place]) => ({ ...said, position: place }))),
});
const startWithPresence = fc
  .tuple(start, text, fc.boolean(), fc.option(text, { nil: undefined }))
  .map(([begun, data, watches, snapshot]) => ({ ...begun, presence: { data, watches, snapshot } }));
const presence = fc.array(
  fc.tuple(text, fc.record({ data: fc.option(text, { nil: undefined }), watches: fc.boolean() })),
);
const kind = fc.constantFrom("websocket" as const, "event-stream" as const);

const heads: fc.Arbitrary<AttachmentHead> = fc.oneof(
  fc.record({ opener: fc.constant("owner" as const), className: text, id: text }),
  fc.record({
    opener: fc.constant("edge" as const),
    className: text,
    id: text,
    intent: fc.constantFrom("own" as const, "place" as const),
    isAsleep: fc.boolean(),
    epoch: count,
    port: text,
    applied: count,
  }),
);

const hellos: fc.Arbitrary<Hello> = fc
  .record({
    epoch: count,
    session: text,
    port: text,
    after: count,
    upTo: count,
    autoResponse: fc.option(fc.record({ request: text, response: text }), { nil: undefined }),
    redeliver: fc.boolean(),
    wakeOnClose: fc.boolean(),
    cursors: fc.array(fc.tuple(number, count), { maxLength: 20 }).map((pairs) => new Map(pairs)),
  })
  .map((hello) => ({ ...hello, after: Math.min(hello.after, hello.upTo) }));

const records: fc.Arbitrary<SocketRecord> = fc.record({
  number,
  id: text,
  remoteAddress: text,
  kind,
  phase: fc.constantFrom("accepted" as const, "opened" as const),
  subscriptions: fc.array(text, { maxLength: 4 }),
  presence,
  tags: fc.array(text, { maxLength: 4 }),
  attachment: fc.option(bytes, { nil: undefined }),
  handled: count,
});

/** What comes off a link is a slice of something, and for a comparison a copy. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || value instanceof Map) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}

function overTheLink(value: unknown): unknown {
  return unpackChecked(packValue(value));
}

const encodeHead = (head: AttachmentHead) =>
  head.opener === "owner" ? encodeOwnerHead(head) : encodeEdgeHead(head);

test("a head, of either opener, arrives as it was sent", () => {
  fc.assert(
    fc.property(heads, (head) => {
      expect(decodeAttachmentHead(overTheLink(encodeHead(head)))).toEqual(head);
    }),
  );
});

test("a hello arrives with its cursors", () => {
  fc.assert(fc.property(hellos, (hello) => expect(decodeHello(encodeHello(hello))).toEqual(hello)));
});

test("messages arrive with the number of their socket, text as text and bytes as bytes", () => {
  const encode = (socket: number, message: SocketData) =>
    typeof message === "string" ? encodeNumberedText(socket, message) : encodeNumberedBytes(socket, message);
  fc.assert(
    fc.property(number, data, (socket, message) => {
      expect(plain(decodeNumbered(encode(socket, message)))).toEqual({ number: socket, message });
    }),
  );
});

test("a publish arrives as it was sent, its topic whatever it is", () => {
  fc.assert(
    fc.property(topicMessage, number, (message, except) => {
      const publish = { message, except };
      expect(plain(decodePublish(encodePublish(publish)))).toEqual(publish);
      expect(plain(decodePublish(new PublishEncoder().encode(message, except)))).toEqual(publish);
    }),
  );
});

test("text is encoded once for all edges, and bytes as they are at that moment", async () => {
  const encoder = new PublishEncoder();
  const [a, b] = [said("a", "text"), said("b", "text")];
  expect(encoder.encode(a, 0)).toBe(encoder.encode(a, 0));
  expect(decodePublish(encoder.encode(b, 0)).message.topic).toBe("b");
  expect(decodePublish(encoder.encode(b, 3)).except).toBe(3);
  const bytes = new Uint8Array([1]);
  const message = said("a", bytes);
  const first = encoder.encode(message, 0);
  bytes[0] = 2;
  expect(plain(decodePublish(first).message.data)).toEqual(new Uint8Array([1]));
  expect(plain(decodePublish(encoder.encode(message, 0)).message.data)).toEqual(new Uint8Array([2]));
  await Promise.resolve();
  expect(decodePublish(encoder.encode(a, 0)).message.data).toBe("text");
});

test("a start arrives as it was sent, with what was missed", () => {
  fc.assert(
    fc.property(number, text, fc.oneof(start, startWithPresence), (socket, topic, begun) => {
      const sent = { number: socket, topic, start: begun };
      expect(plain(decodeStartOf(encodeStartOf(sent)))).toEqual(sent);
    }),
  );
});

test("positions arrive as they were sent", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text)), (pairs) => {
      const positions = new Map(pairs);
      expect(decodePositions(encodePositions(positions))).toEqual(positions);
    }),
  );
});

test("everything else arrives as it was sent", () => {
  fc.assert(
    fc.property(number, count, text, data, (socket, amount, words, message) => {
      expect(decodeCount(encodeCount(amount))).toBe(amount);
      expect(decodeTopicOf(encodeTopicOf(socket, words))).toEqual({ number: socket, topic: words });
      const close = { number: socket, code: 4000, reason: words };
      expect(decodeCloseOf(encodeCloseOf(close))).toEqual(close);
      expect(plain(decodeControl(encodeControl(socket, message)))).toEqual({ number: socket, message });
      expect(decodeMoved(encodeMoved({ session: words, epoch: amount }))).toEqual({
        session: words,
        epoch: amount,
      });
      expect(decodeHandled(encodeHandled([socket, amount, 1, 0]))).toEqual([
        [socket, amount],
        [1, 0],
      ]);
    }),
  );
  fc.assert(
    fc.property(number, fc.option(bytes, { nil: undefined }), fc.array(text), (socket, attachment, tags) => {
      const kept = { number: socket, attachment, tags };
      expect(plain(decodeKeep(encodeKeep(kept)))).toEqual(kept);
    }),
  );
});

test("a roll arrives whole, in parts of a bounded size", () => {
  const scope = fc.constantFrom("all" as const, "missing" as const);
  fc.assert(
    fc.property(fc.array(records, { maxLength: 20 }), scope, (roll, which) => {
      const parts = encodeRoll(roll, which).map(decodeRoll);
      expect(parts.every((part) => part.scope === which)).toBe(true);
      expect(plain(parts.flatMap((part) => part.records))).toEqual(roll);
      expect(decodeRollEnd(encodeRollEnd(which))).toBe(which);
    }),
  );
  const [sample] = fc.sample(records, 1);
  if (sample === undefined) throw new Error("no sample");
  const many = Array.from({ length: 10_000 }, (_, index) => ({ ...sample, number: index }));
  const parts = encodeRoll(many, "all");
  expect(parts.length).toBeGreaterThan(5);
  for (const part of parts) expect(part.length).toBeLessThan(1024 * 1024);
  expect(parts.flatMap((part) => decodeRoll(part).records)).toHaveLength(10_000);
});

test("the head of an upgrade arrives as it was sent", () => {
  const upgrade = fc.record({
    kind,
    url: text,
    target: text,
    headers: fc.array(fc.tuple(text, text), { maxLength: 5 }),
  });
  fc.assert(
    fc.property(number, upgrade, (socket, head) => {
      expect(decodeHeadOf(encodeHeadOf(socket, head))).toEqual({ number: socket, head });
    }),
  );
});

describe("hostile bytes are bad_request and nothing else", () => {
  const decoders: Record<string, (payload: Payload) => unknown> = {
    ...{ decodeHello, decodeNumbered, decodePublish, decodeCount, decodeTopicOf, decodeCloseOf },
    ...{
      decodeControl,
      decodeHandled,
      decodeKeep,
      decodeMoved,
      decodeStartOf,
      decodePositions,
      decodeRoll,
      decodeRollEnd,
      decodeHeadOf,
    },
  };
  const packed = fc.anything({ withBigInt: false, maxDepth: 3 }).chain((value) => {
    try {
      return fc.constant(packValue(value));
    } catch {
      return fc.constant(new Uint8Array());
    }
  });
  const prefixed = fc.string({ unit: fc.constantFrom("0", "z", ":", "A", "-", " ", "é"), maxLength: 30 });
  const hostile = fc.oneof(bytes, packed, prefixed);

  test.each(Object.entries(decoders))("%s", (_, decode) => {
    fc.assert(
      fc.property(hostile, (payload) => expectSound(() => decode(payload))),
      { numRuns: 3_000 },
    );
  });

  test("a hello with one wrong member", () => {
    fc.assert(
      fc.property(hellos, fc.nat({ max: 8 }), fc.anything({ withBigInt: false }), (hello, index, wrong) => {
        const members = unpackChecked(encodeHello(hello));
        if (!Array.isArray(members)) throw new TypeError("no list");
        members[index] = wrong;
        expectSound(() => decodeHello(packValue(members)));
      }),
      { numRuns: 1_000 },
    );
  });

  test("a head with one wrong member", () => {
    fc.assert(
      fc.property(heads, fc.nat({ max: 7 }), fc.anything(), (head, index, wrong) => {
        const members = encodeHead(head);
        members[index] = wrong;
        expectSound(() => decodeAttachmentHead(members));
      }),
      { numRuns: 1_000 },
    );
  });

  test("numbers that no socket can have", () => {
    for (const wrong of [":text", "text", "-1:text", "1.5:text", "A:text", "123456789:text", " 1:text"])
      expect(() => decodeNumbered(wrong)).toThrow("malformed number");
    expect(() => decodePublish("9:0:0:tshort")).toThrow("malformed publish");
    expect(() => decodeHandled(packValue([1]))).toThrow("malformed handled");
  });
});
