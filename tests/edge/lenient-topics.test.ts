import { expect, test } from "bun:test";
import fc from "fast-check";
import { EdgeSocket } from "../../infra/edge/edge-socket.ts";
import { behindPollMs, type LenientPolicy, LenientTopics } from "../../infra/edge/lenient-topics.ts";
import { ReplayAllowance } from "../../infra/edge/replay-allowance.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { FakeClient } from "../support/fake-client.ts";
import { said } from "../support/topic-message.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const name = "room/a\nchat";

/** A subscriber that is told what it missed, as one in frames is. */
class ToldClient extends FakeClient {
  skipped(_: string, count: number): void {
    this.heard.push(`skipped ${count}`);
  }
}

function topics(backpressureLimitBytes = 400) {
  const clock = new VirtualClock();
  const lenient = new LenientTopics({ clock, backpressureLimitBytes });
  let number = 0;
  const reader = (policy: LenientPolicy) => {
    const socket = new EdgeSocket(++number, objectRef("room", "a"), {
      lenient: lenient,
      sendableBytesMax: 1_000_000,
      tooSlow: () => undefined,
      forget: () => undefined,
    });
    const client = new ToldClient(socket);
    socket.connected(client);
    socket.listen("chat", { position: undefined, recovered: undefined, missed: [], slowReaders: policy });
    return client;
  };
  return { clock, lenient, reader };
}

test("T8 a reader that keeps up hears everything at once, natively or not", () => {
  const { lenient, reader } = topics();
  const client = reader("conflate");
  expect(client.topics.size).toBe(0);
  for (const data of ["a", "b"]) lenient.publish(name, said("chat", data), undefined);
  expect([client.heard, lenient.figures]).toEqual([["a", "b"], { behind: 0, skipped: 0 }]);
});

test("T8 conflate: whoever is behind hears the latest, and how many were left out", async () => {
  const { clock, lenient, reader } = topics();
  const [slow, quick] = [reader("conflate"), reader("conflate")];
  slow.bufferedBytes = 101;
  for (let n = 1; n <= 5; n++) lenient.publish(name, said("chat", `m${n}`), undefined);
  await clock.advance(10 * behindPollMs);
  expect([slow.heard, quick.heard.length, lenient.figures]).toEqual([[], 5, { behind: 1, skipped: 4 }]);
  slow.bufferedBytes = 0;
  await clock.advance(behindPollMs);
  expect([slow.heard, lenient.figures.behind]).toEqual([["skipped 4", "m5"], 0]);
  lenient.publish(name, said("chat", "m6"), undefined);
  expect(slow.heard.at(-1)).toBe("m6");
  expect(clock.timersLeft).toBe(0);
});

test("T8 drop-oldest: the newest that fit wait, in order", async () => {
  const { clock, lenient, reader } = topics(2000);
  const slow = reader("drop-oldest");
  slow.bufferedBytes = 1000;
  for (let n = 0; n < 20; n++) lenient.publish(name, said("chat", `${n}`.padStart(20, "0")), undefined);
  slow.bufferedBytes = 0;
  await clock.advance(behindPollMs);
  const expected = ["15", "16", "17", "18", "19"].map((end) => end.padStart(20, "0"));
  expect(slow.heard).toEqual(["skipped 15", ...expected]);
});

test("T8 what is heard is in order, and with what is told as left out it is everything", async () => {
  const step = fc.oneof(
    fc.record({ does: fc.constant("publish" as const), length: fc.nat({ max: 300 }) }),
    fc.record({ does: fc.constant("buffer" as const), bytes: fc.nat({ max: 300 }) }),
    fc.record({ does: fc.constant("wait" as const) }),
  );
  const policy = fc.constantFrom<LenientPolicy>("conflate", "drop-oldest");
  await fc.assert(
    fc.asyncProperty(policy, fc.array(step, { maxLength: 100 }), async (policy, steps) => {
      const { clock, lenient, reader } = topics(400);
      const client = reader(policy);
      let published = 0;
      for (const step of steps) {
        if (step.does === "buffer") client.bufferedBytes = step.bytes;
        else if (step.does === "wait") await clock.advance(behindPollMs);
        else lenient.publish(name, said("chat", `${published++}`.padEnd(step.length)), undefined);
      }
      client.bufferedBytes = 0;
      await clock.advance(behindPollMs);
      let next = 0;
      for (const heard of client.heard.map(String)) {
        if (heard.startsWith("skipped ")) next += Number(heard.slice(8));
        else expect(Number(heard)).toBe(next++);
      }
      expect(next).toBe(published);
      expect(lenient.figures.behind).toBe(0);
    }),
  );
});

test("one that unsubscribes or leaves is forgotten with what waited for it", async () => {
  const { clock, lenient, reader } = topics();
  const [one, other] = [reader("conflate"), reader("conflate")];
  for (const client of [one, other]) client.bufferedBytes = 1000;
  lenient.publish(name, said("chat", "late"), undefined);
  one.socket.unsubscribe("chat");
  other.leave();
  expect(lenient.figures.behind).toBe(0);
  for (const client of [one, other]) client.bufferedBytes = 0;
  await clock.advance(100);
  lenient.publish(name, said("chat", "later"), undefined);
  expect([one.heard, other.heard, clock.timersLeft]).toEqual([[], [], 0]);
});

test("a publisher that is left out hears nothing of its own", () => {
  const { lenient, reader } = topics();
  const [one, other] = [reader("conflate"), reader("conflate")];
  lenient.publish(name, said("chat", "a"), one.socket);
  expect([one.heard, other.heard]).toEqual([[], ["a"]]);
});

test("what is told again of the past does not count as being slow, until it has been read", () => {
  const allowance = new ReplayAllowance();
  let buffered = 10;
  allowance.replay(
    () => buffered,
    () => {
      buffered += 500;
    },
  );
  expect(allowance.counted(510)).toBe(10);
  expect(allowance.counted(600)).toBe(100);
  expect(allowance.counted(300)).toBe(0);
  expect(allowance.counted(700)).toBe(400);
  expect(allowance.counted(0)).toBe(0);
  expect(allowance.counted(50)).toBe(50);
});
