import { expect, test } from "bun:test";
import { object } from "../../infra/object/object.ts";
import { ServedMove, fromSource } from "../../infra/edge/move-channel.ts";
import { encodeMoveOffer } from "../../infra/edge/move-offer.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { heldEventsMax } from "../../infra/host/attached-edge.ts";
import type { Channel } from "../../infra/link/link.ts";
import { connectTo, FakeCarrier, FakeEdge, fetchFrom, ObjectHost, post } from "./object-host.ts";
import { TwoHosts } from "./two-hosts.ts";

async function settled(hosts: TwoHosts): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    await hosts.source.clock.advance(1);
    await hosts.target.clock.advance(1);
  }
}

for (const failures of [1, 2])
  test(`L7 an arrival whose start fails ${failures} times starts as the move that it is`, async () => {
    let left = failures;
    const heard: unknown[] = [];
    const hosts = new TwoHosts(() => [
      object("room", {
        state: () => ({ count: 0 }),
        onMoveOut: () => ({ ticket: 7 }),
        onMoveIn: ({ carried }) => {
          if (left-- > 0) throw new Error("not now");
          heard.push(carried);
        },
        onStart: ({ reason }) => void heard.push(reason),
      })
        .get("/", ({ state }) => state.count)
        .post("/count", ({ state }) => ++state.count),
    ]);
    await fetchFrom(await hosts.source.live("room"), "/count", post);
    heard.length = 0;
    await hosts.move("room");
    await settled(hosts);
    for (let n = 1; n < failures; n += 1) await hosts.target.live("room").catch(() => undefined);
    const response = await fetchFrom(await hosts.target.live("room"));
    expect([await response.json(), ...heard]).toEqual([1, { ticket: 7 }, "move"]);
  });

test("L7 a target that cannot say that it is ready lets go of what came: the source was told so, and lives on", () => {
  const outcomes: string[] = [];
  const arrival = {
    reserve: () => undefined,
    deliver: () => undefined,
    go: () => undefined,
    cancelled: () => void outcomes.push("cancelled"),
    undecided: () => void outcomes.push("undecided"),
  };
  let sends = 0;
  const channel = {
    send: () => ++sends === 1,
    consumed: () => undefined,
  } as unknown as Channel; // the test made it
  const ref = objectRef("room", "a");
  const offer = { ref, epoch: 1, toSession: "s", dataVersion: 1, codeVersion: "test", edges: [] };
  const served = new ServedMove(channel, encodeMoveOffer(offer), {
    arrivals: { offered: () => arrival },
    codeVersion: "test",
    reach: () => undefined,
  });
  let thrown: unknown;
  try {
    served.message(channel, fromSource.partEnd, new Uint8Array());
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: "link_overloaded" });
  served.closed(channel, thrown as never); // as the link does with what a handler throws
  expect(outcomes).toEqual(["cancelled"]);
});

test("L7 H5 heads of sockets that were closed before they were here are not kept for ever", async () => {
  const host = new ObjectHost(
    object("room", { state: () => ({}), idleAfterMs: 1000 }).ws("/live", {
      message: (ws, text) => void ws.send(text),
    }),
  );
  const edge = new FakeEdge();
  await connectTo(await host.live("room"), new FakeCarrier(edge));
  const target = "/room/a/live";
  const head = { kind: "websocket", url: `http://client.example${target}`, target, headers: [] } as const;
  for (let number = 10; number < 10 + heldEventsMax; number += 1) {
    edge.events?.head(number, head);
    edge.events?.closed(number, 1000, "");
  }
  const record = {
    ...({
      number: 5,
      id: "five",
      remoteAddress: "",
      kind: "websocket",
      phase: "opened",
      handled: 0,
    } as const),
    ...{ subscriptions: [], presence: [], tags: [], attachment: undefined },
  };
  edge.events?.head(5, head);
  edge.events?.roll([record], "missing", true);
  edge.events?.message(5, "hello");
  await host.clock.advance(10);
  expect(edge.carriers.get(5)?.closed).toBeUndefined();
  expect(edge.carriers.get(5)?.sent).toEqual(["hello"]);
});
