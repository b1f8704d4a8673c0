import type { GateVisitor } from "./input-gate.ts";

/** A call that waits at the gate of the object that it is for. */
export interface WaitingCall {
  readonly visitor: GateVisitor;
  /** Who is inside there. */
  readonly holder: () => GateVisitor | undefined;
}

/** Calls that are looked at for one call. A longer way round is untied by time. */
const callsSearchedMax = 256;

/**
 * The calls that wait at the gates of a host. No chain of callers shows that objects wait for each other whose calls have begun apart:
 * a is busy with one event and calls b, b is busy with another and calls a. Here it shows: whoever is inside at b has a call that waits
 * at a, where the caller itself is inside.
 */
export class WaitingCalls {
  /** By the key of each object whose event waits for them: its own call, or one that its call has made. */
  readonly #byCaller = new Map<string, Set<WaitingCall>>();

  add(call: WaitingCall): void {
    for (const caller of call.visitor.chain) {
      const calls = this.#byCaller.get(caller);
      if (calls) calls.add(call);
      else this.#byCaller.set(caller, new Set([call]));
    }
  }

  remove(call: WaitingCall): void {
    for (const caller of call.visitor.chain) {
      const calls = this.#byCaller.get(caller);
      if (calls?.delete(call) && calls.size === 0) this.#byCaller.delete(caller);
    }
  }

  /**
   * The way on which a call would wait for itself, were it to wait for `holder`: keys of objects, from the one that it is for to its
   * caller. Undefined where there is none among the calls of this host.
   */
  wayBack(call: GateVisitor, holder: GateVisitor): readonly string[] | undefined {
    const ways: { readonly inside: GateVisitor; readonly keys: readonly string[] }[] = [
      { inside: holder, keys: [holder.objectKey] },
    ];
    const seen = new Set<GateVisitor>([holder]);
    let searched = 0;
    for (const { inside, keys } of ways) {
      for (const waiting of this.#byCaller.get(inside.objectKey) ?? []) {
        if (++searched > callsSearchedMax) return undefined;
        const next = waiting.holder();
        if (next === undefined || seen.has(next) || !waitsFor(inside, waiting.visitor)) continue;
        const way = [...keys, next.objectKey];
        if (waitsFor(next, call)) return way;
        seen.add(next);
        ways.push({ inside: next, keys: way });
      }
    }
    return undefined;
  }
}

/** Which event has made the calls with that chain, of those events that say so, at this host. */
const callers = new WeakMap<readonly string[], GateVisitor>();

/** The chain of the calls that this event makes. */
export function chainFrom(event: GateVisitor): readonly string[] {
  const chain = [...event.chain, event.objectKey];
  callers.set(chain, event);
  return chain;
}

/**
 * Whether that event waits for the call: it has made it, or a call that has. Then its own chain, and its object, begin the call's.
 * Where the callers are known they say more: another event of the same object may have been there before, and may have called the same.
 */
function waitsFor(event: GateVisitor, call: GateVisitor): boolean {
  const { chain, objectKey } = event;
  if (call.chain[chain.length] !== objectKey) return false;
  if (!chain.every((key, index) => call.chain[index] === key)) return false;
  let caller = callers.get(call.chain);
  while (caller && caller.chain.length > chain.length) caller = callers.get(caller.chain);
  return caller === undefined || caller === event;
}
