import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeAccount,
  decodeMoved,
  decodeQuestion,
  encodeAccount,
  encodeMoved,
  encodeQuestion,
  type MovedObject,
  type OwnerAccount,
  type OwnerQuestion,
} from "../../infra/edge/owner-protocol.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import type { ExplainedLife } from "../../infra/placement/explain-life.ts";
import { expectSound } from "../support/sound.ts";

const text = fc.string({ unit: "binary", maxLength: 20 }).filter((value) => value.isWellFormed());
const ids = text.filter((id) => id !== "" && id !== "." && id !== "..");
const refs = fc
  .tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), ids)
  .map(([className, id]) => objectRef(className, id));
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
/** Without -0, which JSON does not have. */
const amount = fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0);
const host = fc.record({ hostId: text, region: text });

const questions: fc.Arbitrary<OwnerQuestion> = fc.oneof(
  fc.record({
    question: fc.constant("move" as const),
    ref: refs,
    intent: fc.constantFrom("own", "place"),
    wish: fc.oneof(fc.record({ region: text }), fc.record({ hostId: text })),
  }),
  fc.record({ question: fc.constant("explain" as const), ref: refs }),
);
const moves: fc.Arbitrary<MovedObject> = fc.record({
  ...{ from: host, to: host, session: text, epoch: count, pauseMs: amount },
});
const life: ExplainedLife = {
  traffic: { events: 3.5, shares: [{ region: "nrt", share: 1 }] },
  follow: {
    ...{ moves: false, verdict: "few_events", why: "stays", presentCostMs: 1, best: null },
    ...{ savesMs: 0, marginMs: 20, mayMoveInMs: 0 },
  },
  nearer: [],
};
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const accounts: fc.Arbitrary<OwnerAccount> = fc.record({
  owner: fc.record({
    ...{ hostId: text, region: text, epoch: count, sinceMs: optional(amount), reason: optional(text) },
    movedFor: fc.constantFrom(undefined, "drain", "memory", "follow", "operator"),
  }),
  life: fc.constantFrom(undefined, life),
  isAsleep: fc.boolean(),
  awake: fc.record({ events: count, timers: count }),
  edges: count,
  sockets: optional(count),
});

test("questions, moves and accounts arrive as they were sent", () => {
  const overTheLink = (value: unknown) => unpackChecked(packValue(value));
  fc.assert(
    fc.property(questions, (sent) => expect(decodeQuestion(overTheLink(encodeQuestion(sent)))).toEqual(sent)),
  );
  fc.assert(fc.property(moves, (sent) => expect(decodeMoved(encodeMoved(sent))).toEqual(sent)));
  fc.assert(fc.property(accounts, (sent) => expect(decodeAccount(encodeAccount(sent))).toEqual(sent)));
});

describe("anything else is bad_request and nothing else", () => {
  test("a question", () => {
    fc.assert(fc.property(fc.anything(), (hostile) => expectSound(() => decodeQuestion(hostile))));
    fc.assert(
      fc.property(questions, fc.nat({ max: 4 }), fc.anything(), (sent, index, wrong) => {
        const array = encodeQuestion(sent);
        array[index] = wrong;
        expectSound(() => decodeQuestion(array));
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["a move", decodeMoved, moves.map(encodeMoved)],
    ["an account", decodeAccount, accounts.map(encodeAccount)],
  ] as const)("%s", (_, decode, sent) => {
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(bytes, (hostile) => expectSound(() => decode(hostile))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(sent, fc.nat(), (whole, cut) => {
        expectSound(() => decode(whole.subarray(0, cut % whole.length)));
      }),
    );
    const members = fc.array(fc.anything({ withBigInt: false, maxDepth: 2 }), { maxLength: 8 });
    fc.assert(
      fc.property(members, (hostile) => {
        let packed = new Uint8Array();
        try {
          packed = new Uint8Array(packValue(hostile));
        } catch {
          // Not everything can be packed.
        }
        expectSound(() => decode(packed));
      }),
    );
  });
});
