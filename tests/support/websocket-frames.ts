/** What clients over raw TCP need of RFC 6455, section 5.2. */
export const textFrame = 0x81;
export const pingFrame = 0x89;
/** The answer to a ping. */
export const pongFrame: Buffer = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

/** Where the payload of the first frame is; undefined until all of it is there. */
export function frameIn(bytes: Buffer): { readonly from: number; readonly to: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = (bytes[1] ?? 0) & 0x7f;
  const from = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < from) return undefined;
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return bytes.length < from + length ? undefined : { from, to: from + length };
}

/** Where they are not as the protocol has them, that is what whoever sends them wants. */
export interface FrameParts {
  /** The final bit, reserved ones, and the kind. */
  readonly first: number;
  readonly payload: Uint8Array;
  readonly isMasked: boolean;
  /** The length that the head says. */
  readonly announced: number;
}

const mask = [0x37, 0xfa, 0x21, 0x3d];

export function frameOf({ first, payload, isMasked, announced }: FrameParts): Buffer {
  const head = [first];
  const maskBit = isMasked ? 0x80 : 0;
  if (announced < 126) head.push(maskBit | announced);
  else if (announced < 65_536) head.push(maskBit | 126, announced >> 8, announced & 0xff);
  else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(announced));
    head.push(maskBit | 127, ...long);
  }
  if (!isMasked) return Buffer.concat([Buffer.from(head), payload]);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([Buffer.from([...head, ...mask]), masked]);
}

/** A text frame as a client sends it. */
export function clientFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return frameOf({ first: textFrame, payload, isMasked: true, announced: payload.length });
}

/** The first lines of a request that asks for a WebSocket. */
export function upgradeLines(path: string): string[] {
  const handshake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
  return [`GET ${path} HTTP/1.1`, "Host: edge.example", ...handshake, key];
}

/** All of that request. */
export function handshakeFor(path: string): string {
  return `${upgradeLines(path).join("\r\n")}\r\n\r\n`;
}
