/**
 * Storage. A wallet keeps its pots under keys of their own, because there may be many, and moves money between them in a
 * transaction: both pots change or neither does, whatever is awaited in between and whoever else calls. The history is a
 * range of keys in the order of time, read from its end.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

const pot = (name: string) => `pot:${name}`;
const potName = t.String({ minLength: 1, maxLength: 40 });
const amount = t.Integer({ minimum: 1 });

interface Entry {
  readonly from?: string;
  readonly to: string;
  readonly amount: number;
}

export default object("wallet")
  .get("/", async ({ storage }) => {
    const pots = await storage.list<number>({ prefix: "pot:" });
    return Object.fromEntries(Array.from(pots, ([key, value]) => [key.slice("pot:".length), value]));
  })
  .get("/history", async ({ storage }) => {
    const latest = await storage.list<Entry>({ prefix: "history:", reverse: true, limit: 20 });
    return [...latest.values()];
  })
  .post(
    "/deposit",
    ({ storage, body: { to, amount } }) =>
      storage.transaction(async (tx) => {
        const balance = ((await tx.get<number>(pot(to))) ?? 0) + amount;
        await tx.put(pot(to), balance);
        await tx.put(historyKey(), { to, amount });
        return { [to]: balance };
      }),
    { body: t.Object({ to: potName, amount }) },
  )
  .post(
    "/move",
    ({ storage, body: { from, to, amount }, status }) =>
      storage.transaction(async (tx) => {
        const pots = await tx.getMany<number>([pot(from), pot(to)]);
        const left = (pots.get(pot(from)) ?? 0) - amount;
        // A throw undoes everything that the transaction has done; this one has Elysia answer with 409.
        if (left < 0 || from === to) throw status(409, { error: `${from} cannot give ${amount} to ${to}` });
        const balance = (pots.get(pot(to)) ?? 0) + amount;
        await tx.putMany({ [pot(from)]: left, [pot(to)]: balance, [historyKey()]: { from, to, amount } });
        return { [from]: left, [to]: balance };
      }),
    { body: t.Object({ from: potName, to: potName, amount }) },
  );

/** Sorts by time; what happens in the same millisecond has no order. */
function historyKey(): string {
  return `history:${String(Date.now()).padStart(15, "0")}:${crypto.randomUUID()}`;
}
