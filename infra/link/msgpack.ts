import { Packr } from "msgpackr";

/**
 * MessagePack from a peer, behind a look at its structure.
 *
 * A decoder believes the lengths it reads: five bytes can announce an array of four billion, and a few thousand of them
 * nested make it allocate gigabytes before it finds that the bytes are missing. So `unpackChecked` first walks the
 * structure without building anything, and lets through only what is nested at most `msgpackDepthMax` deep and announces
 * no more elements than there are bytes left.
 */
export const msgpackDepthMax = 64;

// No shared record structures: each head must be readable on its own. Copies, so that a value never pins a message.
const packr = new Packr({ useRecords: false, copyBuffers: true });

export function packValue(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Throws some error on bytes that are not exactly one MessagePack value. */
export function unpackChecked(bytes: Uint8Array): unknown {
  checkStructure(bytes);
  return packr.unpack(bytes);
}

/** What follows one first byte. */
interface Shape {
  /** Bytes of the length that follows the first byte. */
  readonly lengthBytes: 0 | 1 | 2 | 4;
  /** Fixed bytes after the length. */
  readonly fixed: number;
  /** What the length counts: bytes, elements of an array, or pairs of a map. */
  readonly counts: "nothing" | "bytes" | "elements" | "pairs";
}

const nothing = (fixed: number): Shape => ({ lengthBytes: 0, fixed, counts: "nothing" });
const counted = (lengthBytes: 1 | 2 | 4, counts: Shape["counts"], fixed = 0): Shape => ({
  lengthBytes,
  fixed,
  counts,
});

/** First bytes 0xc0 to 0xdf, in order (MessagePack specification, "Formats"). `undefined` is the one never used. */
const shapes: ReadonlyArray<Shape | undefined> = [
  nothing(0), // nil
  undefined,
  nothing(0), // false
  nothing(0), // true
  counted(1, "bytes"), // bin
  counted(2, "bytes"),
  counted(4, "bytes"),
  counted(1, "bytes", 1), // ext, with its type byte
  counted(2, "bytes", 1),
  counted(4, "bytes", 1),
  nothing(4), // float
  nothing(8),
  nothing(1), // unsigned
  nothing(2),
  nothing(4),
  nothing(8),
  nothing(1), // signed
  nothing(2),
  nothing(4),
  nothing(8),
  nothing(2), // fixext, with its type byte
  nothing(3),
  nothing(5),
  nothing(9),
  nothing(17),
  counted(1, "bytes"), // str
  counted(2, "bytes"),
  counted(4, "bytes"),
  counted(2, "elements"), // array
  counted(4, "elements"),
  counted(2, "pairs"), // map
  counted(4, "pairs"),
];

function checkStructure(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Values still to come, per level of nesting. */
  const open = [1];
  let offset = 0;
  while (open.length > 0) {
    const level = open.length - 1;
    const left = open[level] ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[level] = left - 1;
    const step = readOne(view, offset);
    offset = step.next;
    if (step.nested > bytes.byteLength - offset)
      throw new RangeError("more elements announced than bytes are left");
    if (step.nested > 0 && open.push(step.nested) > msgpackDepthMax) throw new RangeError("nested too deep");
  }
  if (offset !== bytes.byteLength) throw new RangeError("bytes after the value");
}

/** Where the value at `offset` ends, leaving out the values nested in it, and how many those are. */
function readOne(view: DataView, offset: number): { readonly next: number; readonly nested: number } {
  const first = view.getUint8(offset);
  if (first <= 0x7f || first >= 0xe0) return { next: offset + 1, nested: 0 };
  if (first <= 0x8f) return { next: offset + 1, nested: 2 * (first & 0x0f) };
  if (first <= 0x9f) return { next: offset + 1, nested: first & 0x0f };
  if (first <= 0xbf) return skipTo(view, offset + 1 + (first & 0x1f), 0);
  const shape = shapes[first - 0xc0];
  if (shape === undefined) throw new RangeError("a byte that MessagePack never uses");
  const length = readLength(view, offset + 1, shape.lengthBytes);
  const after = offset + 1 + shape.lengthBytes + shape.fixed;
  if (shape.counts === "bytes") return skipTo(view, after + length, 0);
  return skipTo(view, after, shape.counts === "pairs" ? 2 * length : length);
}

function skipTo(
  view: DataView,
  next: number,
  nested: number,
): { readonly next: number; readonly nested: number } {
  if (next > view.byteLength) throw new RangeError("the value is cut off");
  return { next, nested };
}

function readLength(view: DataView, offset: number, bytes: Shape["lengthBytes"]): number {
  if (bytes === 0) return 0;
  if (bytes === 1) return view.getUint8(offset);
  return bytes === 2 ? view.getUint16(offset) : view.getUint32(offset);
}
