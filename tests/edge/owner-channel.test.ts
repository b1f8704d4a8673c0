import { describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { askOwner, ServedOwnerCall } from "../../infra/edge/owner-channel.ts";
import type { OwnedObjects } from "../../infra/edge/owner-calls.ts";
import {
  decodeAccount,
  decodeMoved,
  type OwnerQuestion,
  ownerPurpose,
} from "../../infra/edge/owner-protocol.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { ObjectHost } from "../host/object-host.ts";
import { linkPair } from "../support/link-pair.ts";

const counter = object("counter").get("/", () => "here");
const ref = objectRef("counter", "a");
const explain: OwnerQuestion = { question: "explain", ref };
const move: OwnerQuestion = { question: "move", ref, intent: "own", wish: { region: "nrt" } };
const here = { hostId: "host-1", region: "ams" };
const there = { hostId: "host-2", region: "nrt" };

/** An edge, and an owner that does what a test says. */
async function stage(changes: Partial<OwnedObjects> = {}) {
  const pair = await linkPair();
  const host = new ObjectHost(counter);
  const objects: OwnedObjects = {
    move: async ({ epoch }) => ({ from: here, to: there, session: "s.2", epoch: epoch + 1, pauseMs: 1.5 }),
    account: () => undefined,
    ...changes,
  };
  pair.acceptor.handlers.channel = (channel, purpose, head) => {
    expect(purpose).toBe(ownerPurpose);
    return new ServedOwnerCall(channel, head, host.table, objects);
  };
  const ask = async (question: OwnerQuestion, limitMs = 1000) => {
    const asked = askOwner(pair.dialer.link, question, pair.clock, limitMs).catch((thrown) => thrown);
    await pair.clock.advance(1);
    return asked;
  };
  return { ...pair, host, ask };
}

describe("E25 what is asked of an owner is no event of its object", () => {
  test("a move is answered when it is done", async () => {
    const { host, ask } = await stage();
    const activation = await host.live("counter");
    const moved = decodeMoved(await ask(move));
    const epoch = activation.epoch + 1;
    expect(moved).toEqual({ from: here, to: there, session: "s.2", epoch, pauseMs: 1.5 });
    expect([activation.openEvents, activation.eventsTaken]).toEqual([0, 0]);
  });

  test("what a move fails with comes with its code and its details", async () => {
    const details = { refused: [{ hostId: "x", region: "nrt", reason: "draining" }] };
    const failed = new StatefulError("no_eligible_host", "No host can take it.", { details });
    const { host, ask } = await stage({ move: () => Promise.reject(failed) });
    await host.live("counter");
    const error = await ask(move);
    expect(error).toBeInstanceOf(StatefulError);
    expect(error).toMatchObject({ code: "no_eligible_host", message: "No host can take it.", details });
  });

  test("a host that is not the owner says so, and whom it knows", async () => {
    const { host, ask } = await stage();
    host.leases.elsewhere.set(ref.key, "other.1");
    const refusal = await ask(move);
    expect(refusal.error.code).toBe("not_owner");
    expect(refusal.owner.session).toBe("other.1");
  });

  test("an explanation starts nothing, and wakes nothing", async () => {
    const { host, ask } = await stage();
    const refusal = await ask(explain);
    expect(refusal.error.code).toBe("not_owner");
    expect([host.table.size, host.leases.acquired]).toEqual([0, []]);
  });

  test("an explanation is what the owner says", async () => {
    const asleep = {
      owner: { ...here, epoch: 3 },
      isAsleep: true,
      awake: { events: 0, timers: 0 },
      edges: 2,
    };
    const { ask } = await stage({ account: () => ({ ...asleep, life: undefined, sockets: undefined }) });
    expect(decodeAccount(await ask(explain))).toMatchObject(asleep);
  });

  test("an owner that is late, or lost, may have moved it: nobody is told of sessions", async () => {
    const { host, ask, clock, dialer } = await stage({ move: () => new Promise(() => undefined) });
    await host.live("counter");
    const late = ask(move, 500);
    await clock.advance(500);
    const lost = ask(move, 500);
    await clock.advance(1);
    dialer.link.close(new StatefulError("outcome_unknown", "session-acceptor is gone"));
    await clock.advance(1);
    for (const error of [await late, await lost]) {
      expect(error).toMatchObject({ code: "outcome_unknown" });
      expect(error.message).not.toContain("session");
    }
    expect(clock.timersLeft).toBeLessThan(5);
  });

  test("what is no question is refused", async () => {
    const { dialer, clock } = await stage();
    let refused: StatefulError | undefined;
    dialer.link.open(ownerPurpose, ["delete", "counter", "a", "own", null], {
      message: () => undefined,
      closed: (_, error) => {
        refused = error;
      },
    });
    await clock.advance(1);
    expect(refused?.code).toBe("bad_request");
  });
});
