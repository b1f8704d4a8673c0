/** What the loads need of RFC 6455, section 5.2, over raw TCP. */
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

/** A text frame as a client sends it, for up to 65,535 bytes. */
export function maskedFrame(message: string): Buffer {
  const bytes = Buffer.from(message);
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  const head =
    bytes.length < 126
      ? [0x81, 0x80 | bytes.length]
      : [0x81, 0x80 | 126, bytes.length >> 8, bytes.length & 0xff];
  const payload = bytes.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.from([...head, ...mask, ...payload]);
}

/** The request of an upgrade. */
export function handshakeFor(path: string): string {
  const fields = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
  return `${[`GET ${path} HTTP/1.1`, "Host: bench.test", ...fields, key].join("\r\n")}\r\n\r\n`;
}
