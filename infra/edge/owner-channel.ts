import type { Activation } from "../host/activation.ts";
import type { ActivationTable, Elsewhere } from "../host/activation-table.ts";
import type { Clock } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Channel, ChannelHandlers, Link } from "../link/link.ts";
import { bytesOf, decodeRefusal, encodeRefusal, type Refusal } from "./forward-protocol.ts";
import type { OwnedObjects } from "./owner-calls.ts";
import {
  decodeQuestion,
  encodeAccount,
  encodeMoved,
  encodeQuestion,
  fromOwner,
  type OwnerQuestion,
  ownerPurpose,
} from "./owner-protocol.ts";

/** Resolves with the answer, or with why that host is not the one to answer. Rejects with what went wrong. */
export function askOwner(
  link: Link,
  question: OwnerQuestion,
  clock: Clock,
  limitMs: number,
): Promise<Uint8Array | Refusal> {
  return new Promise((resolve, reject) => {
    const settle = (answer: Uint8Array | Refusal) => {
      cancel();
      channel.close();
      resolve(answer);
    };
    const channel = link.open(ownerPurpose, encodeQuestion(question), {
      message(open, kind, payload) {
        open.consumed(payload.length);
        if (kind === fromOwner.answer) settle(bytesOf(payload));
        else if (kind === fromOwner.refuse) settle(decodeRefusal(bytesOf(payload)));
      },
      closed(_, error) {
        cancel();
        reject(error === undefined || error.code === "outcome_unknown" ? lostOwner(error) : error);
      },
    });
    const cancel = clock.after(limitMs, () => {
      const late = lostOwner(new StatefulError("outcome_unknown", `No answer within ${limitMs} ms.`));
      channel.close(late);
      reject(late);
    });
  });
}

/** What a link says of itself names sessions, which are no client's business: it stays as the cause. */
function lostOwner(cause: StatefulError | undefined): StatefulError {
  const message = "The owner was lost before it answered; it may have done what it was asked for.";
  return new StatefulError("outcome_unknown", message, { cause });
}

/** The owner's end. */
export class ServedOwnerCall implements ChannelHandlers {
  readonly #channel: Channel;
  readonly #table: ActivationTable;
  readonly #objects: OwnedObjects;

  /** @throws StatefulError `bad_request` for a malformed question, which refuses the channel. */
  constructor(channel: Channel, head: unknown, table: ActivationTable, objects: OwnedObjects) {
    this.#channel = channel;
    this.#table = table;
    this.#objects = objects;
    this.#serve(decodeQuestion(head)).catch((thrown) => channel.close(asStatefulError(thrown)));
  }

  message(channel: Channel, _kind: number, payload: Uint8Array | string): void {
    channel.consumed(payload.length); // A later version's: nothing here depends on it.
  }

  /** Who asked has left. A move goes on all the same. */
  closed(): void {
    // Nothing is kept for it.
  }

  async #serve(asked: OwnerQuestion): Promise<void> {
    if (asked.question === "explain") {
      const account = this.#objects.account(asked.ref);
      return account ? this.#answer(encodeAccount(account)) : this.#refuse(notHere(asked), undefined);
    }
    const admitted = await this.#admit(asked);
    if (admitted instanceof StatefulError) return this.#refuse(admitted, undefined);
    if ("owned" in admitted) return this.#refuse(notHere(asked), admitted);
    this.#answer(encodeMoved(await this.#objects.move(admitted, asked.wish)));
  }

  async #admit({
    ref,
    intent,
  }: Extract<OwnerQuestion, { question: "move" }>): Promise<Activation | Elsewhere | StatefulError> {
    try {
      const when = intent === "place" ? "free" : "mine";
      return this.#table.live(ref.key) ?? (await this.#table.activate(ref, when));
    } catch (thrown) {
      return asStatefulError(thrown);
    }
  }

  #answer(answer: Uint8Array): void {
    this.#channel.send(fromOwner.answer, answer);
    this.#channel.close();
  }

  #refuse(error: StatefulError, elsewhere: Elsewhere | undefined): void {
    const owner = elsewhere?.session ? { session: elsewhere.session, epoch: elsewhere.epoch } : undefined;
    this.#channel.send(fromOwner.refuse, encodeRefusal({ error, owner }, this.#channel.link.version));
    this.#channel.close();
  }
}

function notHere({ ref }: OwnerQuestion): StatefulError {
  return new StatefulError("not_owner", `${ref.key} does not live here.`, { retryAfterMs: 1000 });
}
