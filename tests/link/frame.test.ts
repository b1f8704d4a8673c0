import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { errorCodes, StatefulError } from "../../infra/lib/errors.ts";
import {
  channelIdMax,
  decodeFrames,
  type Frame,
  FrameWriter,
  frameBytesMax,
  type Hello,
  LinkProtocolError,
  transportMessageBytesMax,
} from "../../infra/link/frame.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { packValue } from "../../infra/link/msgpack.ts";

function decode(message: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  decodeFrames(message, (frame) => frames.push(frame));
  return frames;
}

function write(frames: readonly Frame[]): Uint8Array {
  const writer = new FrameWriter();
  for (const frame of frames) writeFrame(writer, frame);
  return writer.bytes();
}

function writeFrame(writer: FrameWriter, frame: Frame): void {
  switch (frame.type) {
    case "hello":
      writer.hello(frame.hello);
      break;
    case "open":
      writer.open(frame.channel, frame.purpose, packValue(frame.head));
      break;
    case "data":
      writer.data(frame.channel, frame.kind, frame.bytes, frame.text, frame.more);
      break;
    case "credit":
      writer.credit(frame.channel, frame.bytes);
      break;
    case "close":
      writer.close(frame.channel, frame.error);
      break;
    case "ping":
      writer.ping(frame.id);
      break;
    case "pong":
      writer.pong(frame.id);
      break;
  }
}

function helloFrame(hello: object): Uint8Array {
  const body = packValue(hello);
  return Uint8Array.of(0, 0, (5 + body.length) >> 8, (5 + body.length) & 0xff, 1, 0, 0, 0, 0, ...body);
}

const u32 = fc.integer({ min: 0, max: channelIdMax });
const channel = fc.integer({ min: 1, max: channelIdMax });
const name = fc.string({ maxLength: 40 });
const size = fc.integer({ min: 0, max: 2 ** 40 });

const hello: fc.Arbitrary<Hello> = fc.record({
  ...{ versions: fc.constant(linkVersions), session: name, hostId: name, region: name, proof: name },
  ...{
    dials: size,
    linkWindowBytes: size,
    channelWindowBytes: size,
    channelDebtBytesMax: size,
    messageBytesMax: size,
  },
});

/** As it travels: the packed form of -0 is that of 0, as JSON's is. */
const json = fc
  .jsonValue({ maxDepth: 5 })
  .map((value): unknown => JSON.parse(JSON.stringify(value)))
  .filter((value) => !JSON.stringify(value).includes("__proto__"));

const error = fc
  .record({
    code: fc.constantFrom(...errorCodes().map(({ code }) => code)),
    message: fc.string({ unit: "grapheme", maxLength: 200 }),
  })
  .map(({ code, message }) => new StatefulError(code, message));

const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  hello.map((value): Frame => ({ type: "hello", hello: value })),
  fc.record({
    type: fc.constant("open" as const),
    channel,
    purpose: fc.stringMatching(/^[a-z]{1,20}$/),
    head: json,
  }),
  fc.record({
    type: fc.constant("data" as const),
    channel,
    kind: fc.integer({ min: 0, max: 255 }),
    text: fc.boolean(),
    more: fc.boolean(),
    bytes: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({ type: fc.constant("credit" as const), channel: u32, bytes: u32 }),
  fc.record({
    type: fc.constant("close" as const),
    channel: u32,
    error: fc.option(error, { nil: undefined }),
  }),
  fc.record({ type: fc.constant("ping" as const), id: u32 }),
  fc.record({ type: fc.constant("pong" as const), id: u32 }),
);

/** Errors compare by what travels, bytes by content. */
function comparable(frame: Frame): unknown {
  if (frame.type === "close")
    return { ...frame, error: frame.error && [frame.error.code, frame.error.message] };
  return frame.type === "data" ? { ...frame, bytes: [...frame.bytes] } : frame;
}

/** True where decoding ended as it may: with frames, or with one of the two errors. */
function endsWell(message: Uint8Array): boolean {
  try {
    decode(message);
    return true;
  } catch (thrown) {
    if (thrown instanceof LinkProtocolError) return true;
    if (thrown instanceof StatefulError && thrown.code === "version_mismatch") return true;
    throw thrown;
  }
}

describe("frames", () => {
  test("K2: what is written is read back, many frames to a message", () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 20 }), (frames) => {
        expect(decode(write(frames)).map(comparable)).toEqual(frames.map(comparable));
      }),
      { numRuns: 500 },
    );
  });

  test("K2: short text is encoded in place, whatever its characters", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary", maxLength: 500 }), { maxLength: 10 }), (texts) => {
        const writer = new FrameWriter(16);
        for (const text of texts) writer.shortText(1, 7, text);
        const read = decode(writer.bytes()).map((frame) =>
          frame.type === "data" ? Buffer.from(frame.bytes).toString() : "",
        );
        expect(read).toEqual(texts.map((text) => text.toWellFormed()));
      }),
      { numRuns: 300 },
    );
  });

  test("K2: random bytes are frames or a protocol error, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => endsWell(bytes)),
      { numRuns: 5_000 },
    );
  });

  test("K2: a damaged message is frames or a protocol error, and nothing else", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(
        fc.array(anyFrame, { minLength: 1, maxLength: 5 }),
        damage,
        fc.nat(),
        (frames, changes, cut) => {
          const whole = write(frames);
          const message = whole.slice(0, whole.length - (cut % 4));
          for (const [at, value] of changes) message[at % message.length] = value;
          return endsWell(message);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("K2: random MessagePack in a well-formed open frame is a head or a protocol error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (head) => {
        const writer = new FrameWriter();
        writer.open(1, "fuzz", head);
        return endsWell(writer.bytes());
      }),
      { numRuns: 10_000 },
    );
  });

  test.each([
    ["an array of four thousand million", [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ["a map of four thousand million", [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ["bytes that are not there", [0xc6, 0xff, 0xff, 0xff, 0xff]],
    ["a thousand nested arrays", new Array<number>(1_000).fill(0x91)],
    ["nested arrays that each announce many", new Array<number[]>(30_000).fill([0xdc, 0x75, 0x30]).flat()],
  ])("K2: a head that announces %s allocates nothing", (_, head) => {
    const writer = new FrameWriter();
    writer.open(1, "bomb", new Uint8Array(head));
    const before = process.memoryUsage().rss;
    expect(() => decode(writer.bytes())).toThrow(LinkProtocolError);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test.each([
    ["shorter than a header", new Uint8Array(8), "8 bytes where a frame should start"],
    [
      "that ends inside a frame",
      Uint8Array.of(0, 0, 0, 9, 4, 0, 0, 0, 1, 0),
      "a frame of 13 bytes in a message with 10 left",
    ],
    [
      "with a frame over the limit",
      Uint8Array.of(0, 255, 0, 0, 3, 0, 0, 0, 1, 0),
      `to ${frameBytesMax} are allowed`,
    ],
    ["with an unknown type", Uint8Array.of(0, 0, 0, 5, 99, 0, 0, 0, 1), "unknown type 99"],
    [
      "over the limit itself",
      new Uint8Array(transportMessageBytesMax + 1),
      `at most ${transportMessageBytesMax}`,
    ],
    ["with a post of text", Uint8Array.of(0, 0, 0, 7, 3, 0, 0, 0, 0, 1, 1), "a post of text"],
  ])("K2: a message %s is refused, saying so", (_, message, why) => {
    expect(() => decode(message)).toThrow(why);
  });

  test("K11: a hello of other versions is refused with both ranges named, whatever else it says", () => {
    const refused = (hello: object) => () => decode(helloFrame({ ...hello, whatever: true }));
    const own = `this host versions ${linkVersions.oldest} to ${linkVersions.newest}`;
    expect(refused({ version: 7 })).toThrow(
      `the peer speaks version 7 of the links between hosts, and ${own}`,
    );
    expect(refused({ version: 7, newest: 9 })).toThrow("the peer speaks versions 7 to 9");
    for (const wrong of [{}, { version: "1" }, { version: 0 }, { version: 2, newest: 1 }, { version: 1.5 }])
      expect(refused(wrong)).toThrow(LinkProtocolError);
  });

  test("K11: a hello of the first release, which names one version and no newest, is read", () => {
    const windows = { linkWindowBytes: 1, channelWindowBytes: 1, channelDebtBytesMax: 1, messageBytesMax: 1 };
    const facts = { session: "s", hostId: "h", region: "iad", proof: "", dials: 1, ...windows };
    expect(decode(helloFrame({ version: 1, ...facts }))).toEqual([
      { type: "hello", hello: { versions: { oldest: 1, newest: 1 }, ...facts } },
    ]);
  });

  test("an error crosses with code, message, retryAfterMs and details, and an unknown code as internal", () => {
    const sent = new StatefulError("no_eligible_host", "none", {
      retryAfterMs: 1500,
      details: { refusals: ["full"] },
    });
    const [frame] = decode(write([{ type: "close", channel: 3, error: sent }]));
    expect(frame).toMatchObject({ error: { code: "no_eligible_host", message: "none", retryAfterMs: 1500 } });
    expect(frame?.type === "close" && frame.error?.details).toEqual({ refusals: ["full"] });
    const body = packValue(["code_of_next_year", "new", null, null]);
    const [unknown] = decode(Uint8Array.of(0, 0, 0, 5 + body.length, 5, 0, 0, 0, 3, ...body));
    expect(unknown).toMatchObject({ error: { code: "internal" } });
  });

  test("an error with details that are too large, or cannot be encoded, still arrives", () => {
    for (const details of [{ text: "x".repeat(100_000) }, { run: () => 1 }]) {
      const sent = new StatefulError("handler_failed", "y".repeat(5_000), { details });
      const message = write([{ type: "close", channel: 3, error: sent }]);
      expect(message.byteLength).toBeLessThan(9_000);
      expect(decode(message)[0]).toMatchObject({ error: { code: "handler_failed" } });
    }
  });
});
