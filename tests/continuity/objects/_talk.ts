import { sse, t } from "elysia";
import { object } from "stateful-objects";

/** A piece of the whole numbers, both ends included. */
export type Run = [from: number, to: number];

/** What is in the object's `state`, and travels, stays or is lost with it. */
export interface Talk {
  /** Of this state, from when it was made: another one says that the state was lost in between. */
  readonly life: string;
  /** Rises by one with everything that the object hears. */
  number: number;
  /** Which increments of each client were counted, by the numbers the client gave them. */
  readonly counted: Record<string, Run[]>;
  /** Increments that came a second time. */
  readonly twice: string[];
  count: number;
}

/** What the object tells its sockets. */
export type Told =
  | { readonly kind: "welcome"; readonly life: string; readonly number: number; readonly owner: string }
  | (Heard & { readonly kind: "echo" | "said" });

/** A client's message number `n`, which was the object's `number`. */
interface Heard {
  readonly client: string;
  readonly n: number;
  readonly life: string;
  readonly number: number;
  readonly owner: string;
}

/** What the object answers to an increment: the value that it made. */
export interface Counted {
  readonly value: number;
  readonly life: string;
  readonly owner: string;
}

/** All that the object has counted. */
export interface CountedAll {
  readonly life: string;
  readonly count: number;
  readonly counted: Readonly<Record<string, readonly Run[]>>;
  readonly twice: readonly string[];
}

interface TalkOptions {
  readonly durability: "memory" | "storage";
  readonly idleAfterMs?: number;
}

const numbered = t.Object({ client: t.String({ maxLength: 40 }), n: t.Integer() });
/** Ids of the objects of this process that wait in the middle of a transaction. */
const inTransaction = new Set<string>();
/** How long a handler may be asked to take. */
const forMs = t.Integer({ default: 0, minimum: 0, maximum: 30_000 });

/**
 * An object that numbers what it hears and tells everyone: enough to see, from outside, whether a message was lost, repeated
 * or overtaken, whether two copies of the object lived at once, and whether its state went back. Every class of this folder is
 * one of these, with another durability.
 */
export function talkClass(name: string, options: TalkOptions) {
  return object(name, { ...options, state: newTalk, topics: { all: { subscribe: "anyone" } } })
    .get("/", ({ state: { life, number }, host, topics }) => ({
      ...{ life, number, owner: host.id },
      hearers: topics.subscriberCount("all"),
      inTransaction: [...inTransaction],
    }))
    .get("/counted", ({ state: { life, count, counted, twice } }) => ({ life, count, counted, twice }))
    .post(
      "/increment",
      ({ state, body, host }) => ({ value: count(state, body), life: state.life, owner: host.id }),
      { body: numbered },
    )
    .post(
      "/slow",
      async ({ state, body, query, host }) => {
        await delay(query.forMs);
        return { value: count(state, body), life: state.life, owner: host.id };
      },
      { body: numbered, query: t.Object({ forMs }) },
    )
    .post(
      "/transaction",
      ({ storage, query, host, objectId }) =>
        storage.transaction(async (tx) => {
          const sum = ((await tx.get<number>("sum")) ?? 0) + 1;
          inTransaction.add(objectId);
          await delay(query.forMs);
          inTransaction.delete(objectId);
          await tx.put("sum", sum);
          return { sum, owner: host.id };
        }),
      { query: t.Object({ forMs }) },
    )
    .get("/sum", async ({ storage, host }) => ({
      sum: (await storage.get<number>("sum")) ?? 0,
      owner: host.id,
    }))
    .get(
      "/stream",
      async function* ({ query, host }) {
        for (let n = 1; n <= query.upTo; n += 1) {
          yield sse({ id: String(n), data: { n, owner: host.id } });
          await delay(query.forMs);
        }
      },
      { query: t.Object({ upTo: t.Integer({ minimum: 1, maximum: 10_000 }), forMs }) },
    )
    .post(
      "/say",
      ({ state, body, topics, host }) => {
        const heard = hear(state, body, host.id);
        topics.publish("all", { kind: "said", ...heard });
        return heard;
      },
      { body: numbered },
    )
    .ws("/live", {
      body: numbered,
      open(ws) {
        const { state, host } = ws.data;
        ws.subscribe("all");
        ws.send({ kind: "welcome", life: state.life, number: state.number, owner: host.id });
      },
      message(ws, message) {
        const { state, host, topics } = ws.data;
        const heard = hear(state, message, host.id);
        topics.publish("all", { kind: "said", ...heard });
        ws.send({ kind: "echo", ...heard });
      },
    });
}

function newTalk(): Talk {
  return { life: crypto.randomUUID().slice(0, 8), number: 0, counted: {}, twice: [], count: 0 };
}

function hear(state: Talk, { client, n }: typeof numbered.static, owner: string): Heard {
  state.number += 1;
  return { client, n, life: state.life, number: state.number, owner };
}

/** The value that this increment makes. One that comes again is noted, and counts again: somebody has to see it. */
function count(state: Talk, { client, n }: typeof numbered.static): number {
  state.count += 1;
  state.counted[client] ??= [];
  const runs = state.counted[client] ?? [];
  if (runs.some(([from, to]) => from <= n && n <= to)) state.twice.push(`${client}#${n}`);
  const last = runs.at(-1);
  if (last !== undefined && last[1] === n - 1) last[1] = n;
  else runs.push([n, n]);
  return state.count;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
