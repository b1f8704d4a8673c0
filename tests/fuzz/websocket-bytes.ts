import type { SeededRandom } from "../support/seeded-random.ts";
import { frameOf } from "../support/websocket-frames.ts";
import { mutated, randomBytes, randomText } from "./mutation.ts";

/** Where a client's WebSocket begins, and what means something there. */
export const socketPaths = [
  "/probe/a/live",
  "/probe/a/-/topics/news",
  "/probe/a/-/topics/checked",
  "/-/connect",
] as const;

const lengthsMax = 20_000;
const opcodes = [0, 1, 1, 1, 2, 2, 8, 9, 10, 3, 7, 11, 15];

/** Frames of RFC 6455, section 5.2, in which each field may be wrong, as they follow the handshake on one connection. */
export function websocketBytes(random: SeededRandom, path: string): Uint8Array {
  const frames = Array.from({ length: random.between(1, 12) }, () => frame(random, path));
  const bytes = Buffer.concat(frames);
  const cut = random.isLucky(0.2) ? bytes.subarray(0, random.between(0, bytes.length)) : bytes;
  const changed = random.isLucky(0.3) ? mutated(random, new Uint8Array(cut), new Uint8Array(bytes)) : cut;
  return typeof changed === "string" ? Buffer.from(changed) : changed;
}

function frame(random: SeededRandom, path: string): Uint8Array {
  const opcode = random.pick(opcodes);
  const payload = payloadOf(random, opcode, path);
  const isFinal = random.isLucky(0.85);
  const reserved = random.isLucky(0.05) ? random.between(1, 7) << 4 : 0;
  const isMasked = random.isLucky(0.95);
  return frameOf({
    first: (isFinal ? 0x80 : 0) | reserved | opcode,
    payload,
    isMasked,
    announced: announced(random, payload.length),
  });
}

/** Mostly the truth. */
function announced(random: SeededRandom, length: number): number {
  if (random.isLucky(0.92)) return length;
  return random.pick([
    0,
    1,
    125,
    126,
    127,
    65_535,
    65_536,
    2 ** 31,
    2 ** 40,
    2 ** 53,
    length + 1,
    Math.max(0, length - 1),
  ]);
}

function payloadOf(random: SeededRandom, opcode: number, path: string): Uint8Array {
  if (opcode === 8)
    return random.pick([
      Buffer.alloc(0),
      Buffer.from([3]),
      Buffer.from([3, 232]),
      Buffer.from([0, 0]),
      Buffer.from([3, 236, 0xff, 0xfe]),
      Buffer.alloc(200, 65),
    ]);
  if (opcode === 9 || opcode === 10) return randomBytes(random, random.isLucky(0.9) ? 125 : 300);
  if (opcode !== 1) return randomBytes(random, random.isLucky(0.9) ? 200 : lengthsMax);
  if (random.isLucky(0.1)) return Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80]); // no UTF-8
  if (random.isLucky(0.05)) return Buffer.alloc(lengthsMax, 0x5b);
  return Buffer.from(path === "/-/connect" ? connectFrame(random) : randomText(random));
}

function connectFrame(random: SeededRandom): string {
  const id = random.between(1, 6);
  const valid = JSON.stringify(
    random.pick([
      { type: "hello", headers: { "x-user": randomText(random), cookie: "a=1" } },
      { type: "subscribe", id, object: "probe/a", topic: "news", since: random.pick(["oldest", "a.1", ""]) },
      {
        type: "subscribe",
        id,
        object: `probe/${randomText(random)}`,
        topic: randomText(random),
        presence: true,
        query: randomText(random),
      },
      { type: "publish", id, data: { [randomText(random)]: 1 } },
      { type: "publish", id, bytes: "AAEC" },
      { type: "unsubscribe", id },
      { type: "ping" },
    ]),
  );
  return random.isLucky(0.7) ? valid : String(mutated(random, valid, valid));
}
