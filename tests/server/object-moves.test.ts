import { describe, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { roomWaitLimitMs } from "../../apps/server/object-moves.ts";
import { arrivalsFull } from "../../infra/host/move-ports.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { MoveCause } from "../../infra/placement/move-targets.ts";
import { fetchFrom } from "../host/object-host.ts";
import { hostRecord, MovingHost } from "./draining-host.ts";

const counter = object("counter", { state: () => ({ n: 0 }) }).get("/", ({ state }) => ++state.n);
const ref = objectRef("counter", "a");
const full = new StatefulError("move_failed", "no room", {
  ...{ details: { reason: arrivalsFull }, retryAfterMs: 250 },
});

/** A counter, and two hosts of which the near one has no room for packages until a test says so. */
async function stage() {
  const moving = new MovingHost(counter);
  moving.others = [hostRecord("near"), hostRecord("far", "nrt")];
  moving.roundTripsMs.set("far", 200);
  let isFull = true;
  moving.refusesPackage = (hostId) => (isFull && hostId === "near" ? full : undefined);
  const activation = await moving.host.live("counter");
  const move = (cause: MoveCause) => {
    const moved = moving.moves.move(ref, cause);
    moved.catch(() => undefined); // whoever waits for it hears of it
    return moved;
  };
  const makeRoom = () => {
    isFull = false;
  };
  return { moving, clock: moving.host.clock, activation, move, makeRoom };
}

describe("L11 a target whose arrivals are full", () => {
  test("is asked again by a drain, and the object serves meanwhile", async () => {
    const { moving, clock, activation, move, makeRoom } = await stage();
    const moved = move({ kind: "drain" });
    await clock.advance(1000);
    expect(moving.taken).toEqual([]);
    expect(await (await fetchFrom(activation)).json()).toBe(1);
    makeRoom();
    await clock.advance(250);
    expect((await moved).host.hostId).toBe("near");
  });

  test("is given up by a drain in the end, for another", async () => {
    const { moving, clock, move } = await stage();
    const moved = move({ kind: "drain" });
    await clock.advance(roomWaitLimitMs);
    expect((await moved).host.hostId).toBe("far");
    expect(moving.asked.filter((asked) => asked.endsWith("near"))).toHaveLength(1 + roomWaitLimitMs / 250);
  });

  test("is not asked again where the object has stopped meanwhile, nor by a move that can wait", async () => {
    const { moving, clock, activation, move } = await stage();
    const drained = move({ kind: "drain" });
    await clock.advance(1);
    await moving.host.table.stop(activation, "drain");
    await clock.advance(roomWaitLimitMs);
    await expect(drained).rejects.toBe(full);
    expect(moving.asked).toHaveLength(1);

    const other = await stage();
    await expect(other.move({ kind: "memory" })).rejects.toBe(full);
    expect(other.moving.asked).toHaveLength(1);
    expect(other.activation.isLive).toBe(true);
  });
});
