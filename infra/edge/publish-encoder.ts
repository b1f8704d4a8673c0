import type { SocketData } from "../object/socket-message.ts";
import { encodePublish, type Payload } from "./socket-protocol.ts";

/**
 * Encodes a publish once for all edges that it goes to, one after the other in one turn. Bytes are encoded for each of them:
 * they may have been changed by their author since the last time.
 */
export class PublishEncoder {
  #topic = "";
  #message: string | undefined;
  #encoded: Payload = "";

  encode(topic: string, message: SocketData, except: number): Payload {
    if (except !== 0 || typeof message !== "string") return encodePublish({ topic, message, except });
    if (message === this.#message && topic === this.#topic) return this.#encoded;
    // Not kept any longer: it may be large.
    if (this.#message === undefined) queueMicrotask(() => this.#forget());
    this.#topic = topic;
    this.#message = message;
    this.#encoded = encodePublish({ topic, message, except });
    return this.#encoded;
  }

  #forget(): void {
    this.#message = undefined;
    this.#encoded = "";
  }
}
