import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatefulError } from "../../infra/lib/errors.ts";
import { silentLog } from "../../infra/lib/log.ts";
import { FrameWriter, frameBytesMax, headBytesMax } from "../../infra/link/frame.ts";
import { linkLimits } from "../../infra/link/link-limits.ts";
import { memoryTransportPair } from "../../infra/link/memory-transport.ts";
import { packValue } from "../../infra/link/msgpack.ts";
import { helloOf, type LinkPair, linkEnd, linkPair, type Seen } from "../support/link-pair.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const kib = 1024;
const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);

describe("order", () => {
  test("K1: posts and messages of many channels arrive in the order they were sent", async () => {
    type Step = {
      readonly channel: number;
      readonly text: boolean;
      readonly size: number;
      readonly close: boolean;
    };
    const step: fc.Arbitrary<Step> = fc.record({
      channel: fc.integer({ min: 0, max: 4 }),
      text: fc.boolean(),
      size: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 3 * frameBytesMax })),
      close: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const pair = await linkPair({ linkWindowBytes: 64 * kib, linkQueueBytes: 64 * kib * kib });
        const sent = steps.map((each, index) => sendStep(pair, each, index));
        await pair.clock.advance(1_000);
        const seen = pair.acceptor.handlers.seen.filter(
          (each) => each.what === "message" || each.what === "post",
        );
        expect(seen.map(digest)).toEqual(sent);
        expect(pair.dialer.ends).toEqual([]);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  const opened = new WeakMap<LinkPair, Map<number, ReturnType<LinkPair["dialer"]["link"]["open"]>>>();

  function sendStep(
    pair: LinkPair,
    step: { channel: number; text: boolean; size: number },
    index: number,
  ): string {
    const kind = index % 256;
    if (step.channel === 0) {
      expect(pair.dialer.link.post(kind, bytes(step.size, kind))).toBe(true);
      return `post ${kind} ${step.size}`;
    }
    const channels = opened.get(pair) ?? new Map();
    opened.set(pair, channels);
    const channel =
      channels.get(step.channel) ?? pair.dialer.link.open("order", null, pair.dialer.handlers.ofChannel);
    channels.set(step.channel, channel);
    const payload = step.text ? "é".repeat(step.size) : bytes(step.size, kind);
    expect(channel.send(kind, payload)).toBe(true);
    return `${channel.id} ${kind} ${step.text ? "text" : "bytes"} ${step.size}`;
  }

  function digest(each: Seen): string {
    if (each.what === "post") return `post ${each.kind} ${each.payload.length}`;
    if (each.what !== "message") return each.what;
    return `${each.id} ${each.kind} ${typeof each.payload === "string" ? "text" : "bytes"} ${each.payload.length}`;
  }

  test("K1: a close comes after what was sent before it, and both sides may open", async () => {
    const pair = await linkPair();
    const channel = pair.dialer.link.open(
      "talk",
      { url: "/room/1", epoch: 7n },
      pair.dialer.handlers.ofChannel,
    );
    channel.send(1, "hello");
    channel.close();
    const back = pair.acceptor.link.open("back", [1], pair.acceptor.handlers.ofChannel);
    await pair.clock.advance(10);
    expect(pair.acceptor.handlers.seen).toEqual([
      { what: "channel", id: 1, purpose: "talk", head: { url: "/room/1", epoch: 7n } },
      { what: "message", id: 1, kind: 1, payload: "hello" },
      { what: "closed", id: 1, error: undefined },
    ]);
    expect(back.id).toBe(2);
    expect(pair.dialer.handlers.seen).toEqual([{ what: "channel", id: 2, purpose: "back", head: [1] }]);
    expect(pair.dialer.link.channelCount + pair.acceptor.link.channelCount).toBe(2);
  });

  test("all that is sent in one turn leaves in one message", async () => {
    const clock = new VirtualClock();
    const network = memoryTransportPair(clock);
    const limits = linkLimits();
    let messages = 0;
    const counting = {
      ...wrapped(network.left),
      send: (message: Uint8Array) => {
        messages += 1;
        return network.left.send(message);
      },
    };
    const { link } = linkEnd(clock, limits, counting, "dialer");
    const other = linkEnd(clock, limits, network.right, "acceptor");
    link.greet(helloOf("dialer", limits));
    other.link.greet(helloOf("acceptor", limits));
    await clock.advance(1);
    messages = 0;
    for (let n = 0; n < 100; n += 1) link.open("batch", n, other.handlers.ofChannel).send(1, "x");
    await clock.advance(1);
    expect(other.handlers.messages()).toHaveLength(100);
    expect(messages).toBe(1);
  });

  function wrapped(transport: ReturnType<typeof memoryTransportPair>["left"]) {
    return {
      start: transport.start.bind(transport),
      close: transport.close.bind(transport),
      abort: transport.abort.bind(transport),
    };
  }
});

describe("payloads", () => {
  test("K3: a sender may reuse its bytes, and a receiver may keep what it got", async () => {
    const pair = await linkPair();
    const channel = pair.dialer.link.open("keep", null, pair.dialer.handlers.ofChannel);
    const reused = bytes(50_000);
    for (let n = 0; n < 10; n += 1) channel.send(1, reused.fill(n));
    for (let n = 0; n < 10; n += 1) channel.send(1, reused.subarray(0, 10).fill(n));
    await pair.clock.advance(10);
    const kept = pair.acceptor.handlers.messages().map(({ payload }) => payload);
    expect(kept.map((each) => (typeof each === "string" ? each : each[0]))).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
    for (const each of kept.slice(10)) expect(each instanceof Uint8Array && each.buffer.byteLength).toBe(10);
  });

  test.each([0, 1, 16_384, frameBytesMax - 11, frameBytesMax, 5 * frameBytesMax + 3, 16 * kib * kib])(
    "K3: %d bytes arrive whole",
    async (length) => {
      const pair = await linkPair();
      const sent = bytes(length).map((_, at) => at % 251);
      pair.dialer.link.post(9, sent);
      await pair.clock.advance(100);
      const [seen] = pair.acceptor.handlers.seen;
      expect(seen?.what === "post" && Buffer.compare(seen.payload, sent)).toBe(0);
    },
  );

  test("text stays text, with its byte order mark and whatever its length", async () => {
    const pair = await linkPair();
    const channel = pair.dialer.link.open("text", null, pair.dialer.handlers.ofChannel);
    const texts = ["", "\ufeffmark", "\u{1f600}".repeat(100_000), "a".repeat(500_000)];
    for (const text of texts) channel.send(1, text);
    await pair.clock.advance(100);
    expect(pair.acceptor.handlers.messages().map(({ payload }) => payload === texts.shift())).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  test("what is too large is refused before anything is sent", async () => {
    const pair = await linkPair({ messageBytesMax: 1_000 });
    const channel = pair.dialer.link.open("large", null, pair.dialer.handlers.ofChannel);
    expect(() => channel.send(1, bytes(1_001))).toThrow(
      "A message of 1001 bytes; the peer takes 1000 at most",
    );
    expect(() => channel.send(1, "é".repeat(501))).toThrow("A message of 1002 bytes");
    expect(channel.send(1, "a".repeat(1_000))).toBe(true);
    expect(() => pair.dialer.link.open("large", bytes(headBytesMax), pair.dialer.handlers.ofChannel)).toThrow(
      "The head of",
    );
    await pair.clock.advance(10);
    expect(pair.acceptor.handlers.messages()).toHaveLength(1);
  });
});

describe("windows", () => {
  test("K4: a sender waits in writable() while the reader does not consume, and goes on when it does", async () => {
    const pair = await linkPair({ channelWindowBytes: 100 * kib });
    pair.acceptor.handlers.consumes = false;
    const channel = pair.dialer.link.open("bulk", null, pair.dialer.handlers.ofChannel);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 100; sent += 1) {
        await channel.writable();
        channel.send(1, bytes(10 * kib));
      }
    })();
    await pair.clock.advance(1_000);
    expect(sent).toBe(10);
    expect(pair.dialer.link.heldBytes).toMatchObject({ queued: 0 });
    const reader = pair.acceptor.handlers.channels.get(channel.id);
    reader?.consumed(30 * kib);
    await pair.clock.advance(1_000);
    expect(sent).toBe(13);
    pair.acceptor.handlers.consumes = true;
    reader?.consumed(100 * kib);
    await pair.clock.advance(1_000);
    await sending;
    expect(pair.acceptor.handlers.messages()).toHaveLength(100);
  });

  test("K4: text counts by its length at both ends", async () => {
    const pair = await linkPair({ channelWindowBytes: 1_000 });
    const channel = pair.dialer.link.open("text", null, pair.dialer.handlers.ofChannel);
    for (let n = 0; n < 50; n += 1) {
      channel.send(1, "日本\u{1f600}\ud800".repeat(100));
      let isWritable = false;
      channel.writable().then(
        () => (isWritable = true),
        () => undefined,
      );
      await pair.clock.advance(1);
      expect(isWritable).toBe(true);
    }
    expect(pair.dialer.ends).toEqual([]);
  });

  test("K4: send goes past the window, but not past the debt", async () => {
    const pair = await linkPair({ channelWindowBytes: 1_000, channelDebtBytesMax: 5_000 });
    pair.acceptor.handlers.consumes = false;
    const channel = pair.dialer.link.open("socket", null, pair.dialer.handlers.ofChannel);
    const answers = Array.from({ length: 8 }, () => channel.send(1, bytes(1_000)));
    expect(answers).toEqual([true, true, true, true, true, false, false, false]);
    await pair.clock.advance(10);
    expect(pair.acceptor.handlers.messages()).toHaveLength(5);
  });

  test.each([
    ["its debt", { channelDebtBytesMax: 200 * kib }],
    ["the queue of the link", { linkQueueBytes: 150 * kib, linkWindowBytes: 32 * kib }],
  ])(
    "K4: what %s has no room for waits until something has moved, and meanwhile others have their turn",
    async (_, limits) => {
      const { clock, dialer, acceptor } = await linkPair(limits);
      acceptor.handlers.consumes = false;
      const channel = dialer.link.open("x", null, dialer.handlers.ofChannel);
      let refusals = 0;
      const sending = (async () => {
        for (let sent = 0; sent < 8; sent += 1) {
          await channel.writable();
          while (!channel.send(sent, bytes(sent % 2 === 0 ? 60 * kib : 100 * kib))) {
            // Without end, and no event would be taken again.
            if (++refusals > 100) throw new Error("It asks again and again in one turn.");
            await channel.writable();
          }
        }
      })();
      sending.catch(() => undefined);
      for (let taken = 0; taken < 8; taken += 1) {
        await clock.advance(10);
        const next = acceptor.handlers.messages()[taken];
        const there = next && acceptor.handlers.channels.get(next.id);
        there?.consumed(next?.payload.length ?? 0);
      }
      await sending;
      expect(acceptor.handlers.messages().map(({ kind }) => kind)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(refusals).toBeLessThan(10);
    },
  );

  test("K4: one payload always passes, even larger than every window", async () => {
    const pair = await linkPair({
      channelWindowBytes: 10,
      channelDebtBytesMax: 20,
      linkWindowBytes: 30,
      linkQueueBytes: 40,
    });
    const channel = pair.dialer.link.open("large", null, pair.dialer.handlers.ofChannel);
    await pair.clock.advance(10);
    expect(channel.send(1, bytes(500 * kib))).toBe(true);
    await pair.clock.advance(10);
    expect(pair.acceptor.handlers.messages()).toHaveLength(1);
  });

  test.each([
    ["the debt that hosts grant", {}],
    ["a debt far below the window", { channelDebtBytesMax: 1_000 }],
  ])(
    "K4: nor does what was consumed before and not told of yet keep a payload over %s back",
    async (_, limits) => {
      const { clock, dialer, acceptor } = await linkPair(limits);
      const channel = dialer.link.open("x", null, dialer.handlers.ofChannel);
      for (const size of [10, 5 * 1024 * kib, 300, 2_000]) {
        let isSent = false;
        for (let tries = 0; !isSent && tries < 20; tries += 1) {
          isSent = channel.send(1, bytes(size));
          await clock.advance(10);
        }
        expect([size, isSent]).toEqual([size, true]);
      }
      expect(acceptor.handlers.messages()).toHaveLength(4);
      expect(channel.isOpen).toBe(true);
    },
  );

  test("K4: a peer that sends past the debt loses the channel", async () => {
    const raw = await rawPeer({ channelDebtBytesMax: 1_000 });
    raw.end.handlers.consumes = false;
    raw.write((frames) => frames.open(2, "flood", packValue(null)));
    for (let n = 0; n < 3; n += 1) raw.write((frames) => frames.data(2, 1, bytes(500), false, false));
    await raw.clock.advance(10);
    expect(raw.end.handlers.closings()).toMatchObject([{ id: 2, error: { code: "backpressure" } }]);
    expect(raw.end.link.isOpen).toBe(true);
  });

  test("K5: what is not acknowledged stays under the window, the rest waits, and beyond the queue send is refused", async () => {
    const pair = await linkPair({ linkWindowBytes: 256 * kib, linkQueueBytes: 512 * kib }, 50);
    const answers = Array.from({ length: 40 }, () => pair.dialer.link.post(1, bytes(32 * kib)));
    await pair.clock.advance(10);
    const first = pair.dialer.link.heldBytes;
    expect(first.inFlight).toBeLessThanOrEqual(256 * kib + frameBytesMax);
    const more = Array.from({ length: 40 }, () => pair.dialer.link.post(1, bytes(32 * kib)));
    await pair.clock.advance(1);
    const { queued, inFlight } = pair.dialer.link.heldBytes;
    expect(queued).toBeLessThanOrEqual(512 * kib);
    expect(inFlight).toBeLessThanOrEqual(256 * kib + frameBytesMax);
    expect(answers.concat(more)).toContain(false);
    const accepted = answers.concat(more).filter(Boolean).length;
    await pair.clock.advance(5_000);
    expect(pair.acceptor.handlers.seen).toHaveLength(accepted);
    expect(pair.dialer.link.heldBytes.queued).toBe(0);
  });

  test("K5: a peer that acknowledges nothing makes send and open answer, not grow", async () => {
    const raw = await rawPeer({ linkWindowBytes: 256 * kib, linkQueueBytes: 512 * kib });
    let accepted = 0;
    for (let n = 0; n < 100; n += 1) {
      if (raw.end.link.post(1, bytes(64 * kib))) accepted += 1;
      await raw.clock.advance(1);
    }
    expect(accepted * 64).toBeLessThan(256 + 128 + 512 + 64);
    expect(() => raw.end.link.open("more", bytes(120 * kib), raw.end.handlers.ofChannel)).toThrow(
      "bytes waiting",
    );
  });

  test("K5: many bulk senders share the queue without overrunning it", async () => {
    const pair = await linkPair(
      { linkWindowBytes: 128 * kib, linkQueueBytes: 1_024 * kib, channelWindowBytes: 64 * kib },
      5,
    );
    let refused = 0;
    const senders = Array.from({ length: 50 }, async () => {
      const channel = pair.dialer.link.open("bulk", null, pair.dialer.handlers.ofChannel);
      for (let n = 0; n < 10; n += 1) {
        await channel.writable();
        while (!channel.send(1, bytes(32 * kib))) {
          refused += 1;
          await channel.writable();
        }
      }
    });
    await pair.clock.advance(20_000);
    await Promise.all(senders);
    await pair.clock.advance(1_000);
    expect(pair.acceptor.handlers.messages()).toHaveLength(500);
    expect(refused).toBeLessThan(50);
  });

  test("K6: closes, credit and heartbeats pass when the queue is full both ways", async () => {
    const pair = await linkPair({ linkWindowBytes: 64 * kib, linkQueueBytes: 256 * kib }, 20);
    const channels = [0, 1, 2].map(() => pair.dialer.link.open("busy", null, pair.dialer.handlers.ofChannel));
    await pair.clock.advance(50);
    for (const { link } of [pair.dialer, pair.acceptor]) while (link.post(1, bytes(32 * kib)));
    for (const channel of channels) channel.close();
    await pair.clock.advance(20_000);
    expect(pair.acceptor.handlers.closings()).toHaveLength(3);
    expect(pair.dialer.link.heldBytes.queued + pair.acceptor.link.heldBytes.queued).toBe(0);
    expect(pair.dialer.ends).toEqual([]);
  });
});

describe("handlers that throw", () => {
  test("K7: refusing a channel by a throw tells the peer that error", async () => {
    const pair = await linkPair();
    pair.acceptor.handlers.channel = () => {
      throw new StatefulError("not_owner", "room/1 is not here.", { details: { owner: "s2" } });
    };
    pair.dialer.link.open("fetch", null, pair.dialer.handlers.ofChannel);
    await pair.clock.advance(10);
    const [closing] = pair.dialer.handlers.closings();
    expect(closing?.error).toMatchObject({
      code: "not_owner",
      message: "room/1 is not here.",
      details: { owner: "s2" },
    });
    expect(pair.acceptor.handlers.closings()).toEqual([]);
    expect(pair.acceptor.link.channelCount).toBe(0);
  });

  test("K7: a message handler that throws ends its channel for both sides, and no other", async () => {
    const pair = await linkPair();
    const { ofChannel } = pair.acceptor.handlers;
    const { message } = ofChannel;
    Object.assign(ofChannel, {
      message: (...args: Parameters<typeof message>) => {
        if (args[1] === 13) throw new Error("a bug with a secret in its message");
        message(...args);
      },
    });
    const good = pair.dialer.link.open("good", null, pair.dialer.handlers.ofChannel);
    const bad = pair.dialer.link.open("bad", null, pair.dialer.handlers.ofChannel);
    bad.send(13, "now");
    bad.send(1, "ignored");
    good.send(1, "fine");
    await pair.clock.advance(10);
    expect(pair.dialer.handlers.closings()).toMatchObject([
      { id: bad.id, error: { code: "internal", message: "Internal error" } },
    ]);
    expect(pair.acceptor.handlers.closings()).toMatchObject([{ id: bad.id, error: { code: "internal" } }]);
    expect(pair.acceptor.handlers.messages()).toMatchObject([{ id: good.id, payload: "fine" }]);
    expect(bad.isOpen).toBe(false);
    expect(bad.send(1, "late")).toBe(false);
    expect(pair.dialer.link.isOpen && good.isOpen).toBe(true);
  });

  test("K7: post and closed handlers that throw hurt nobody", async () => {
    const pair = await linkPair();
    const fail = () => {
      throw new Error("a bug");
    };
    pair.acceptor.handlers.post = fail;
    Object.assign(pair.acceptor.handlers.ofChannel, { closed: fail });
    pair.dialer.link.post(1, bytes(1));
    pair.dialer.link.open("one", null, pair.dialer.handlers.ofChannel).close();
    pair.dialer.link.open("two", null, pair.dialer.handlers.ofChannel).send(1, "fine");
    await pair.clock.advance(10);
    expect(pair.acceptor.handlers.messages()).toMatchObject([{ payload: "fine" }]);
  });
});

describe("heartbeats", () => {
  test("K8: the round trip is known after one, and smoothed", async () => {
    const pair = await linkPair({}, 40);
    expect(pair.dialer.link.roundTripMs).toBeUndefined();
    await pair.clock.advance(200);
    expect(pair.dialer.link.roundTripMs).toBe(80);
    expect(pair.acceptor.link.roundTripMs).toBe(80);
  });

  test("K8: an idle link lives, also where a round trip takes longer than a beat", async () => {
    const pair = await linkPair({}, 1_700);
    await pair.clock.advance(600_000);
    expect(pair.dialer.ends.length + pair.acceptor.ends.length).toBe(0);
    expect(pair.dialer.link.roundTripMs).toBeCloseTo(3_400, 0);
  });

  test.each([1, 700, 1_999])(
    "K8: cut %d ms after a beat, both ends know between 6 and 8 s later",
    async (afterMs) => {
      const pair = await linkPair();
      const channel = pair.dialer.link.open("lost", null, pair.dialer.handlers.ofChannel);
      await pair.clock.advance(20_000 + afterMs);
      pair.network.cut();
      await pair.clock.advance(5_990);
      expect(pair.dialer.ends.length + pair.acceptor.ends.length).toBe(0);
      await pair.clock.advance(2_010);
      for (const { ends } of [pair.dialer, pair.acceptor]) {
        expect(ends).toMatchObject([{ code: "outcome_unknown" }]);
        expect(ends[0]?.message).toContain("nothing was heard for 6000 ms");
      }
      expect(pair.dialer.handlers.closings()).toMatchObject([
        { id: channel.id, error: { code: "outcome_unknown" } },
      ]);
      await expect(channel.writable()).rejects.toMatchObject({ code: "outcome_unknown" });
    },
  );

  test("K8: a process that was frozen does not take its own pause for the peer's death", async () => {
    const pair = await linkPair();
    await pair.clock.advance(10_000);
    pair.clock.freeze(60_000);
    await pair.clock.advance(10_000);
    expect(pair.dialer.ends.length + pair.acceptor.ends.length).toBe(0);
  });

  test("no timer is left once both ends have closed", async () => {
    const pair = await linkPair();
    pair.dialer.link.close(new StatefulError("host_draining", "bye"));
    await pair.clock.advance(2_000);
    expect(pair.clock.timersLeft).toBe(0);
  });
});

describe("the end of a link", () => {
  test("K14: every channel ends once: with the given error here, with outcome_unknown and the reason there", async () => {
    const pair = await linkPair();
    const channels = [1, 2, 3].map(() => pair.dialer.link.open("open", null, pair.dialer.handlers.ofChannel));
    const closedBefore = channels[1];
    await pair.clock.advance(1);
    closedBefore?.close();
    pair.dialer.link.close(new StatefulError("host_draining", "This host is going away."));
    await pair.clock.advance(10);
    expect(pair.dialer.handlers.closings()).toMatchObject([
      { id: 1, error: { code: "host_draining" } },
      { id: 5, error: { code: "host_draining" } },
    ]);
    const there = pair.acceptor.handlers.closings();
    expect(there.map(({ id, error }) => [id, error?.code])).toEqual([
      [3, undefined],
      [1, "outcome_unknown"],
      [5, "outcome_unknown"],
    ]);
    expect(there[1]?.error?.message).toContain("host_draining: This host is going away.");
  });

  test("K14: nothing can be sent on what has ended", async () => {
    const pair = await linkPair();
    const channel = pair.dialer.link.open("open", null, pair.dialer.handlers.ofChannel);
    channel.send(1, bytes(300 * kib));
    const waiting = channel.writable();
    pair.dialer.link.close(new StatefulError("session_over", "over"));
    await expect(waiting).rejects.toMatchObject({ code: "session_over" });
    expect(channel.send(1, "x")).toBe(false);
    expect(pair.dialer.link.post(1, bytes(1))).toBe(false);
    expect(() => pair.dialer.link.open("late", null, pair.dialer.handlers.ofChannel)).toThrow("is closed");
    channel.consumed(5);
    channel.close();
    pair.dialer.link.close(new StatefulError("session_over", "again"));
    expect(pair.dialer.ends).toHaveLength(1);
  });

  test("K14: a handler that turns to another channel while the link ends finds it ended", async () => {
    const pair = await linkPair();
    const answers: boolean[] = [];
    const handlers = {
      message: () => undefined,
      closed: () => answers.push(two.send(1, "x"), one.send(1, "x")),
    };
    const one = pair.dialer.link.open("one", null, handlers);
    const two = pair.dialer.link.open("two", null, handlers);
    pair.dialer.link.close(new StatefulError("session_over", "over"));
    expect(answers).toEqual([false, false, false, false]);
  });

  test("past the limit of channels open refuses, and an obstinate peer's channel is refused", async () => {
    const pair = await linkPair({ channelsMax: 3 });
    const { link, handlers } = pair.dialer;
    const first = link.open("n", 0, handlers.ofChannel);
    for (let n = 1; n < 3; n += 1) link.open("n", n, handlers.ofChannel);
    expect(() => link.open("n", 3, handlers.ofChannel)).toThrow("has 3 channels");
    first.close();
    expect(link.open("n", 4, handlers.ofChannel).isOpen).toBe(true);
    const raw = await rawPeer({ channelsMax: 1 });
    raw.write((frames) => frames.open(2, "a", packValue(null)));
    raw.write((frames) => frames.open(4, "b", packValue(null)));
    await raw.clock.advance(10);
    expect(raw.end.handlers.channels.size).toBe(1);
    expect(raw.end.link.isOpen).toBe(true);
  });
});

describe("a peer that breaks the protocol", () => {
  type Write = (frames: FrameWriter) => void;
  const head = packValue(null);
  const cases: ReadonlyArray<readonly [what: string, write: readonly Write[], why: string]> = [
    ["says hello twice", [(frames) => frames.hello(helloOf("acceptor", linkLimits()))], "a second hello"],
    [
      "opens a channel with an id of ours",
      [(frames) => frames.open(1, "x", head)],
      "channel 1 is not the peer's to open",
    ],
    ["opens channel 0", [(frames) => frames.open(0, "x", head)], "channel 0 is not the peer's to open"],
    [
      "opens a channel twice",
      [(frames) => frames.open(2, "x", head), (frames) => frames.open(2, "x", head)],
      "channel 2 is open already",
    ],
    [
      "acknowledges what was never sent",
      [(frames) => frames.credit(0, 1_000_000)],
      "more credit for channel 0 than was sent",
    ],
    [
      "gives credit for what was never sent",
      [(frames) => frames.open(2, "x", head), (frames) => frames.credit(2, 1)],
      "more credit for channel 2 than was sent",
    ],
    [
      "mixes the parts of two payloads",
      [
        (frames) => frames.data(2, 1, bytes(1), false, true),
        (frames) => frames.data(4, 1, bytes(1), false, false),
      ],
      "channel 4 inside a payload of channel 2",
    ],
    [
      "opens a channel inside a payload",
      [(frames) => frames.data(2, 1, bytes(1), false, true), (frames) => frames.open(4, "x", head)],
      "a channel opened or closed inside a payload",
    ],
    [
      "sends text that is not UTF-8",
      [(frames) => frames.data(2, 1, Uint8Array.of(0xff), true, false)],
      "text that is not UTF-8",
    ],
  ];

  test.each(cases)("K2: that %s ends the link, saying so", async (_, write, why) => {
    const raw = await rawPeer();
    raw.write((frames) => frames.open(8, "victim", head));
    for (const each of write) raw.write(each);
    await raw.clock.advance(10);
    expect(raw.end.ends).toHaveLength(1);
    expect(raw.end.ends[0]).toMatchObject({ code: "outcome_unknown", cause: { code: "bad_request" } });
    expect(String(raw.end.ends[0]?.cause)).toContain(why);
    expect(raw.end.handlers.closings().map(({ id }) => id)).toContain(8);
  });

  test("K2: that never ends a payload ends the link at the limit", async () => {
    const raw = await rawPeer({ messageBytesMax: 1_000_000 });
    for (let n = 0; n < 20; n += 1) raw.write((frames) => frames.data(0, 1, bytes(100_000), false, true));
    await raw.clock.advance(10);
    expect(String(raw.end.ends[0]?.cause)).toContain("a payload over 1000000 bytes");
  });

  test("K2: that speaks before its hello, or not our language, never gets a link", async () => {
    for (const message of [new FrameWriter(), Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
      const clock = new VirtualClock();
      const network = memoryTransportPair(clock);
      const end = linkEnd(clock, linkLimits(), network.left, "dialer");
      end.link.greet(helloOf("dialer", linkLimits()));
      if (message instanceof FrameWriter) message.ping(1);
      network.right.send(message instanceof FrameWriter ? message.bytes() : message);
      await clock.advance(10);
      expect(end.ends).toMatchObject([{ code: "owner_unreachable", cause: { code: "bad_request" } }]);
      expect(end.link.isOpen).toBe(false);
    }
  });

  test("K2: random frames after the hello never do more than end the link", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), async (bodies) => {
        const raw = await rawPeer();
        for (const body of bodies) {
          const frame = Buffer.alloc(9 + body.length);
          frame.writeUInt32BE(5 + body.length);
          frame[4] = 2 + ((body[0] ?? 0) % 6);
          frame.writeUInt32BE((body[1] ?? 0) % 8, 5);
          frame.set(body, 9);
          raw.transport.send(frame);
        }
        await raw.clock.advance(100);
        expect(raw.end.ends.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 300 },
    );
  });
});

/** One link whose peer is the test itself, writing frames by hand. */
async function rawPeer(changes: Parameters<typeof linkLimits>[0] = {}) {
  const clock = new VirtualClock();
  const network = memoryTransportPair(clock);
  const limits = linkLimits(changes);
  const end = linkEnd(clock, limits, network.left, "dialer");
  network.right.start({ message: () => undefined, closed: () => undefined });
  const write = (add: (frames: FrameWriter) => void) => {
    const frames = new FrameWriter();
    add(frames);
    network.right.send(frames.bytes());
  };
  end.link.greet(helloOf("dialer", limits));
  write((frames) => frames.hello(helloOf("acceptor", limits)));
  await clock.advance(1);
  expect(end.link.isOpen).toBe(true);
  return { clock, end, write, transport: network.right, log: silentLog };
}
