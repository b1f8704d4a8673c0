import type { SubscribeOptions, Subscription } from "../../apps/client/subscription.ts";
import type { Topic } from "../../apps/client/topic.ts";

/** A subscriber that notes, in order, what it hears and what it is told. */
export class Ear {
  readonly notes: unknown[] = [];
  readonly messages: unknown[] = [];
  readonly subscription: Subscription;

  constructor(topic: Topic<unknown>, options: SubscribeOptions = {}) {
    this.subscription = topic.subscribe((message) => {
      this.messages.push(message);
      this.notes.push(message);
    }, options);
    const note = (text: string) => this.notes.push(text);
    this.subscription.on("subscribed", ({ recovered }) => {
      note(recovered === undefined ? "subscribed" : `subscribed, recovered ${recovered}`);
    });
    this.subscription.on("gap", ({ reason }) => note(`gap: ${reason}`));
    this.subscription.on("skipped", ({ count }) => note(`skipped ${count}`));
    this.subscription.on("refused", ({ status }) => note(`refused ${status}`));
    this.subscription.on("ended", ({ code }) => note(`ended ${code}`));
    this.subscription.on("presence", ({ count }) => note(`presence ${count}`));
  }

  /** Since the last time. */
  take(): unknown[] {
    return this.notes.splice(0);
  }
}
