import { expect, test } from "bun:test";
import fc from "fast-check";
import { StatefulError } from "../../infra/lib/errors.ts";
import { decodePublish, encodePublish } from "../../infra/topics/publish-frame.ts";

const text = fc.string({ unit: "binary", maxLength: 60 }).filter((value) => value.isWellFormed());
const bytes = fc.uint8Array({ maxLength: 300 });

test("a publish arrives as it was sent", () => {
  const socket = fc.nat({ max: 0xffff_ffff });
  fc.assert(
    fc.property(text, text, fc.oneof(text, bytes), socket, (objectKey, topic, message, exceptSocketId) => {
      const arrived = decodePublish(encodePublish({ objectKey, topic, message, exceptSocketId }));
      const body = typeof arrived.message === "string" ? arrived.message : new Uint8Array(arrived.message);
      expect({ ...arrived, message: body }).toEqual({ objectKey, topic, message, exceptSocketId });
    }),
  );
});

test("text keeps its byte order mark", () => {
  const frame = { objectKey: "room/a", topic: "\uFEFFchat", message: "\uFEFFhello", exceptSocketId: 0 };
  expect(decodePublish(encodePublish(frame))).toEqual(frame);
});

test("a frame inside of a larger buffer is read from its own place", () => {
  const frame = { objectKey: "room/a", topic: "chat", message: "hello", exceptSocketId: 9 };
  const encoded = encodePublish(frame);
  const larger = new Uint8Array(encoded.length + 14).fill(0xff);
  larger.set(encoded, 7);
  expect(decodePublish(larger.subarray(7, 7 + encoded.length))).toEqual(frame);
});

test("hostile bytes are bad_request and nothing else", () => {
  const lengths = fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 12 }), fc.uint8Array({ maxLength: 40 }));
  const hostile = fc.oneof(
    bytes,
    lengths.map(([key, topic, rest]) => new Uint8Array([0, key, 0, topic, 0, 0, 0, 0, 1, ...rest])),
  );
  fc.assert(
    fc.property(hostile, (frame) => {
      try {
        decodePublish(frame);
      } catch (thrown) {
        if (!(thrown instanceof StatefulError)) throw thrown;
        expect(thrown.code).toBe("bad_request");
      }
    }),
    { numRuns: 5_000 },
  );
  expect(() => decodePublish(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]))).toThrow("malformed publish");
});
