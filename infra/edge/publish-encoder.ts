import type { TopicMessage } from "../topics/topic-message.ts";
import type { Payload } from "./socket-protocol.ts";
import { encodePublish } from "./topic-protocol.ts";

/**
 * Encodes a publish once for all edges that it goes to, one after the other in one turn. Bytes are encoded for each of them:
 * they may have been changed by their author since the last time.
 */
export class PublishEncoder {
  #message: TopicMessage | undefined;
  #encoded: Payload = "";

  encode(message: TopicMessage, except: number): Payload {
    if (except !== 0 || message.form === "bytes") return encodePublish({ message, except });
    if (message === this.#message) return this.#encoded;
    // Not kept any longer: it may be large.
    if (this.#message === undefined) queueMicrotask(() => this.#forget());
    this.#message = message;
    this.#encoded = encodePublish({ message, except });
    return this.#encoded;
  }

  #forget(): void {
    this.#message = undefined;
    this.#encoded = "";
  }
}
