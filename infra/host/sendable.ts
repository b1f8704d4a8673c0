/** What of a handler's values a frame of a WebSocket can carry. */

const closeReasonBytesMax = 123; // RFC 6455, section 5.5: a control frame carries 125 bytes, two of them the code.

/** A copy: whoever passed the bytes may reuse them at once, while ours may still wait to be sent. */
export function asBytes(data: BufferSource): Uint8Array {
  return data instanceof ArrayBuffer
    ? new Uint8Array(data.slice(0))
    : new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
}

/** RFC 6455, section 7.4: what an endpoint may send. Anything else becomes 1011, for it is a mistake in the handler. */
export function sendableCloseCode(code: number): number {
  const standard = code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code);
  return standard || (code >= 3000 && code <= 4999) ? code : 1011;
}

/** As much of it as a frame takes. */
export function sendableCloseReason(reason: string): string {
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(closeReasonBytesMax));
  return reason.slice(0, read);
}
