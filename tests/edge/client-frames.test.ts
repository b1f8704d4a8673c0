import { expect, test } from "bun:test";
import fc from "fast-check";
import { readClientFrame } from "../../infra/edge/client-frames.ts";
import { StatefulError } from "../../infra/lib/errors.ts";

const frames = [
  { type: "hello", headers: { authorization: "Bearer \u00e9", "x-a": "" } },
  {
    type: "subscribe",
    id: 1,
    object: "room/a%20b",
    topic: 'a "b" \\ \u2028',
    since: "h.1",
    presence: true,
    query: "a=1",
  },
  { type: "unsubscribe", id: 9007199254740991 },
  { type: "publish", id: 1, data: { a: [1, null, "[{"] } },
  { type: "publish", id: 1, text: '\\"]' },
  { type: "publish", id: 1, bytes: "AP8=" },
  { type: "ping" },
];

test.each(frames)("%j is read", (frame) => {
  expect(readClientFrame(JSON.stringify(frame)).type as string).toBe(frame.type); // any of its types is a string
});

/** Reads it, or refuses it as a client is told. */
function readOrRefuse(text: string): void {
  try {
    readClientFrame(text);
  } catch (thrown) {
    if (!(thrown instanceof StatefulError)) throw thrown;
    expect(thrown.closeCode).toBeOneOf([1008, 1009]);
  }
}

test("E30 a frame with bytes changed, lost, doubled or put in is read or refused, and nothing else", () => {
  const unit = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    ":",
    ",",
    "0",
    "e",
    "-",
    "\0",
    "\ud800",
    "\u2028",
  );
  const edit = fc.record({ at: fc.nat(), kind: fc.constantFrom("drop", "double", "put", "cut"), unit });
  fc.assert(
    fc.property(
      fc.constantFrom(...frames),
      fc.array(edit, { minLength: 1, maxLength: 5 }),
      (frame, edits) => {
        let text = JSON.stringify(frame);
        for (const { at, kind, unit } of edits) {
          const index = at % (text.length + 1);
          const [before, here, after] = [text.slice(0, index), text.charAt(index), text.slice(index + 1)];
          if (kind === "drop") text = before + after;
          else if (kind === "double") text = before + here + here + after;
          else if (kind === "put") text = before + unit + here + after;
          else text = before;
        }
        readOrRefuse(text);
      },
    ),
    { numRuns: 5000 },
  );
});

test("E30 whatever JSON a frame's fields hold, it is read or refused", () => {
  const name = fc.constantFrom(
    "id",
    "object",
    "topic",
    "since",
    "presence",
    "query",
    "headers",
    "data",
    "text",
    "bytes",
  );
  const type = fc.constantFrom(
    "hello",
    "subscribe",
    "unsubscribe",
    "publish",
    "ping",
    "__proto__",
    "toString",
  );
  fc.assert(
    fc.property(type, fc.dictionary(name, fc.jsonValue({ maxDepth: 2 })), (type, fields) =>
      readOrRefuse(JSON.stringify({ type, ...fields })),
    ),
    { numRuns: 2000 },
  );
});

test("E30 frames that are deep, or full of quotes, are refused in no time", () => {
  const started = performance.now();
  const size = 1024 * 1024;
  for (const text of [
    "[".repeat(size),
    '{"a":'.repeat(size / 5),
    '"'.repeat(size),
    "\\".repeat(size),
    `["${"\\".repeat(size)}`,
  ])
    expect(() => readClientFrame(text)).toThrow(StatefulError);
  expect(performance.now() - started).toBeLessThan(2000);
});
