import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  bytesOf,
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
} from "../../infra/edge/forward-protocol.ts";
import { errorCodes, StatefulError } from "../../infra/lib/errors.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import { expectSound } from "../support/sound.ts";

const text = fc.string({ unit: "binary", maxLength: 30 }).filter((value) => value.isWellFormed());
const bytes = fc.uint8Array({ maxLength: 200 });
const pairs = fc.array(fc.tuple(text, text), { maxLength: 5 });
const heads: fc.Arbitrary<ForwardHead> = fc
  .record({
    className: text,
    id: text,
    intent: fc.constantFrom("own", "place"),
    method: text,
    url: text,
    target: text,
    headers: pairs,
    upgrade: fc.constantFrom(undefined, "websocket", "event-stream"),
    socketId: text,
    socketNumber: fc.nat(),
    clientAddress: text,
    chain: fc.array(text, { maxLength: 3 }),
    isSystem: fc.boolean(),
    body: fc.oneof(fc.constantFrom("stream" as const, "none" as const), bytes),
  })
  .map((head) => ({ ...head, isSystem: head.isSystem && head.upgrade === undefined }));
const responseHeads = fc.record({ status: fc.integer({ min: 200, max: 599 }), headers: pairs });

/** As the link carries it. */
function overTheLink(value: unknown): unknown {
  return unpackChecked(packValue(value));
}

function expectMalformed(work: () => unknown): void {
  let thrown: unknown;
  try {
    work();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(StatefulError);
  expect(thrown).toMatchObject({ code: "bad_request" });
}

test("a request head arrives as it was sent", () => {
  fc.assert(
    fc.property(heads, (head) => {
      const arrived = decodeForwardHead(overTheLink(encodeForwardHead(head)));
      const body = arrived.body instanceof Uint8Array ? new Uint8Array(arrived.body) : arrived.body;
      expect<ForwardHead>({ ...arrived, body }).toEqual(head);
    }),
  );
});

test("a response head, and a whole response, arrive as they were sent", () => {
  fc.assert(
    fc.property(responseHeads, bytes, (head, body) => {
      expect(decodeResponseHead(encodeResponseHead(head))).toEqual(head);
      const whole = decodeWhole(encodeWhole(head, body));
      expect(whole.head).toEqual(head);
      expect(new Uint8Array(whole.body)).toEqual(body);
    }),
  );
});

test("a refusal carries code, message, retry, details and owner, and never the cause", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...errorCodes().map(({ code }) => code)),
      text,
      fc.option(fc.nat(), { nil: undefined }),
      fc.option(fc.record({ session: text, epoch: fc.nat() }), { nil: undefined }),
      (code, message, retryAfterMs, owner) => {
        const options = {
          details: { reason: "x" },
          cause: new Error("secret"),
          ...(retryAfterMs && { retryAfterMs }),
        };
        const arrived = decodeRefusal(
          encodeRefusal({ error: new StatefulError(code, message, options), owner }, linkVersions.newest),
        );
        expect(arrived.owner).toEqual(owner);
        expect(arrived.error).toMatchObject({ code, message, details: { reason: "x" } });
        expect(arrived.error.retryAfterMs).toBe(retryAfterMs || undefined);
        expect(arrived.error.cause).toBeUndefined();
      },
    ),
  );
});

test("numbers arrive as they were sent", () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (number) => {
      expect(decodeNumber(encodeNumbers(number))).toBe(number);
    }),
  );
});

describe("hostile bytes are bad_request and nothing else", () => {
  const decoders = { decodeResponseHead, decodeWhole, decodeRefusal, decodeNumber };
  const packed = fc.anything({ withBigInt: false, maxDepth: 3 }).chain((value) => {
    try {
      return fc.constant(packValue(value));
    } catch {
      return fc.constant(new Uint8Array());
    }
  });
  test.each(Object.entries(decoders))("%s", (_, decode) => {
    fc.assert(
      fc.property(bytes, (hostile) => expectSound(() => decode(hostile))),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(packed, (hostile) => expectSound(() => decode(hostile))),
      { numRuns: 500 },
    );
    expectMalformed(() => decode(new Uint8Array()));
  });

  test("decodeForwardHead", () => {
    fc.assert(fc.property(fc.anything(), (hostile) => expectSound(() => decodeForwardHead(hostile))));
    const member = fc.tuple(heads, fc.nat({ max: 12 }), fc.anything());
    fc.assert(
      fc.property(member, ([head, index, wrong]) => {
        const array = encodeForwardHead(head);
        array[index] = wrong;
        expectSound(() => decodeForwardHead(array));
      }),
      { numRuns: 1_000 },
    );
  });

  test("a message cut short at any byte", () => {
    const whole = encodeWhole({ status: 200, headers: [["a", "b"]] }, new Uint8Array());
    for (let length = 0; length < whole.length; length++)
      expectMalformed(() => decodeWhole(whole.subarray(0, length)));
    const refusal = encodeRefusal({ error: new StatefulError("not_owner", "no"), owner: undefined }, 1);
    for (let length = 0; length < refusal.length; length++)
      expectMalformed(() => decodeRefusal(refusal.subarray(0, length)));
  });

  test("an array that announces four billion members", () => {
    const bomb = new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]);
    for (const decode of Object.values(decoders)) expectMalformed(() => decode(bomb));
  });

  test("a status that no response can have", () => {
    for (const status of [0, 101, 199, 600, 200.5, -200, Number.NaN, "200", null])
      expectMalformed(() => decodeResponseHead(packValue([status, []])));
  });

  test("text where bytes belong", () => {
    expectMalformed(() => bytesOf("text"));
    expectMalformed(() => decodeNumber("7"));
  });
});
