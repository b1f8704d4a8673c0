import { expect, test } from "bun:test";
import fc from "fast-check";
import { object } from "stateful-objects";
import type { Activation } from "../../infra/host/activation.ts";
import { FakeSession } from "./fake-lease.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";

/**
 * A listener hears an object's topic while its hosts are lost, its sessions end, it sleeps and starts again, with commits
 * that are lost, and commits whose answers are. Whatever it was told must be there ever after, in its order, for whoever
 * says where he was; and what it never was told may have happened or not, but not in part.
 */
interface Case {
  readonly count: number;
  readonly steps: readonly Step[];
}

type Step =
  | { readonly does: "say"; readonly messages: number; readonly isUndone: boolean }
  | { readonly does: "lose"; readonly what: "commits" | "answers" }
  | { readonly does: "crash" | "adopt" | "sleep" | "listen" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant("say" as const),
      messages: fc.integer({ min: 1, max: 4 }),
      isUndone: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("lose" as const),
      what: fc.constantFrom("commits" as const, "answers" as const),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constantFrom("crash" as const, "adopt" as const, "sleep" as const, "listen" as const),
    }),
  },
);

const seed = Number(process.env.TOPICS_SEED ?? Math.floor(Math.random() * 2 ** 31));
test(`T6 what was told is there ever after (TOPICS_SEED=${seed})`, async () => {
  const cases: fc.Arbitrary<Case> = fc.record({
    count: fc.constantFrom(2, 5, 1_000),
    steps: fc.array(step, { minLength: 5, maxLength: 40 }),
  });
  const property = fc.asyncProperty(cases, async ({ count, steps }) => {
    const story = new Story(count);
    for (const next of steps) {
      await story.take(next);
      await story.check();
    }
    await story.take({ does: "crash" });
    await story.check();
  });
  await fc.assert(property, { seed, numRuns: 60 });
}, 60_000);

class Story {
  readonly #host: ObjectHost;
  readonly #count: number;
  /** Who listens: one that began with the object, and others. */
  #edges: FakeEdge[] = [];
  /** All that anybody was told, by place. */
  readonly #told = new Map<number, string>();
  #id: string | undefined;
  #sessions = 1;
  #said = 0;
  #losing: "commits" | "answers" | undefined;

  constructor(count: number) {
    this.#count = count;
    this.#host = new ObjectHost(feedOf(count));
  }

  async take(next: Step): Promise<void> {
    const { stores, clock } = this.#host;
    switch (next.does) {
      case "say":
        return this.#say(next.messages, next.isUndone);
      case "listen":
        return this.#listen();
      case "lose":
        this.#losing = next.what;
        stores.losesCommits = next.what === "commits";
        stores.held = new Promise(() => undefined);
        return;
      case "crash":
        await this.#endSession("another");
        expect(this.#host.table.size).toBe(0);
        this.#edges = [];
        return;
      case "adopt":
        return this.#endSession(undefined);
      case "sleep":
        if (this.#losing === undefined) await clock.advance(5_000);
    }
  }

  async #say(messages: number, isUndone: boolean): Promise<void> {
    const texts = Array.from({ length: messages }, () => `${++this.#said}`);
    const path = `/${isUndone ? "undone" : "say"}/${texts.join(",")}`;
    const answer = fetchFrom(await this.#live(), path, post);
    await this.#host.clock.advance(1);
    if (this.#losing === undefined) expect((await answer).ok).toBe(true);
  }

  async #listen(): Promise<void> {
    const edge = new FakeEdge();
    const connecting = connectTo(await this.#live(), new FakeCarrier(edge));
    connecting.catch(() => undefined); // while nothing is stored nobody is let in
    this.#edges.push(edge);
    await this.#host.clock.advance(1);
  }

  async #endSession(winner: string | undefined): Promise<void> {
    const { leases, stores, table, clock } = this.#host;
    leases.session.end();
    table.suspendAll();
    if (winner) leases.elsewhere.set("feed/a", winner);
    this.#sessions += 1;
    leases.session = new FakeSession(`session-${this.#sessions}`);
    stores.session = leases.session.id;
    stores.losesCommits = false;
    stores.held = undefined;
    this.#losing = undefined;
    await table.adoptAll();
    leases.elsewhere.clear();
    await clock.advance(1);
  }

  #live(): Promise<Activation> {
    return this.#host.live("feed");
  }

  /** While commits are lost a start is not possible, and nobody was told anything. */
  async check(): Promise<void> {
    for (const edge of this.#edges)
      for (const [index, position] of edge.positions.entries())
        this.#note(position, String(edge.frames[index]?.message));
    if (this.#losing !== undefined) return;
    const activation = await this.#live();
    await this.#host.clock.advance(1);
    const last = Math.max(0, ...this.#told.keys());
    // Some may have been told to nobody.
    const newest = Number(activation.topicStart("news", undefined).position?.split(".")[1]);
    for (const place of new Set([0, last - this.#count - 2, last - this.#count, last - 2, last])) {
      if (place < 0 || this.#id === undefined) continue;
      const { recovered, missed } = activation.topicStart("news", `${this.#id}.${place}`);
      if (newest - place <= this.#count) expect([place, recovered]).toEqual([place, true]);
      if (!recovered) continue;
      for (const [index, { data }] of missed.entries()) {
        const told = this.#told.get(place + 1 + index);
        if (told !== undefined) expect(String(data)).toBe(told);
      }
      expect(place + missed.length).toBeGreaterThanOrEqual(last);
    }
  }

  #note(position: string | undefined, text: string): void {
    const [id, place] = position?.split(".") ?? [];
    this.#id ??= id;
    expect(id).toBe(this.#id);
    const known = this.#told.get(Number(place));
    if (known !== undefined) expect(text).toBe(known);
    this.#told.set(Number(place), text);
  }
}

function feedOf(count: number) {
  return object("feed", {
    durability: "storage",
    idleAfterMs: 1000,
    state: () => ({ said: 0 }),
    topics: { news: { history: { count, ageMs: 3_600_000, bytes: 1_000_000 } } },
  })
    .post("/say/:texts", ({ state, topics, params }) => {
      for (const text of params.texts.split(",")) topics.publish("news", text);
      state.said += 1;
    })
    .post("/undone/:texts", ({ storage, topics, params }) => {
      const failing = storage.transaction(async (tx) => {
        await tx.put("texts", params.texts);
        for (const text of params.texts.split(",")) topics.publish("news", text);
        throw new Error("after all not");
      });
      return failing.catch(() => "undone");
    })
    .ws("/live", { open: (ws) => void ws.subscribe("news") });
}
