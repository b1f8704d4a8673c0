import { expect, test } from "bun:test";
import { BodyPump, type BodyKinds } from "../../infra/edge/body-stream.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Channel } from "../../infra/link/link.ts";
import { linkPair } from "../support/link-pair.ts";
import { until } from "../support/wait.ts";

const kinds: BodyKinds = { body: 1, bodyEnd: 2, bodyFailed: 3 };

/** A channel of a link that is so busy that room is taken again each time by somebody who was quicker. */
class BusyChannel {
  readonly sent: number[] = [];
  isOpen = true;
  refusals = 0;
  closedWith: StatefulError | undefined;
  readonly id = 1;
  readonly link = undefined as never; // a pump uses nothing of it
  #next = 0;

  send(kind: number): boolean {
    if (this.isOpen && this.#next++ % 2 === 1) {
      this.sent.push(kind);
      return true;
    }
    this.refusals++;
    return false;
  }
  async writable(): Promise<void> {
    if (!this.isOpen) throw new StatefulError("outcome_unknown", "It has ended.");
  }
  consumed(): void {
    // A pump receives nothing.
  }
  close(error?: StatefulError): void {
    this.isOpen = false;
    this.closedWith = error;
  }
}

const source = (chunks: number, fails = false) =>
  new ReadableStream<Uint8Array>({
    pull(controller) {
      if (chunks-- > 0) controller.enqueue(new Uint8Array(100_000));
      else if (fails) controller.error(new Error("the source failed"));
      else controller.close();
    },
  });

test.each([false, true])(
  "E9 a pump that finds the link full waits, and never gives up (failing source: %p)",
  async (fails) => {
    const channel = new BusyChannel();
    const pump = new BodyPump(source(2, fails), channel satisfies Channel, kinds);
    await until("the pump ends", () => pump.run().then(() => true as const));
    expect(channel.sent).toEqual([1, 1, 1, 1, fails ? kinds.bodyFailed : kinds.bodyEnd]);
    expect([channel.refusals, channel.closedWith]).toEqual([5, undefined]);
  },
);

test("a pump whose channel has ended cancels its source and ends", async () => {
  const { dialer } = await linkPair();
  const channel = dialer.link.open("event", [], dialer.handlers.ofChannel);
  let cancelled = false;
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1)),
    cancel: () => {
      cancelled = true;
    },
  });
  channel.close();
  await until("the pump ends", () => new BodyPump(stream, channel, kinds).run().then(() => true as const));
  await until("the source hears", () => cancelled);
});
