import { describe, expect, test } from "bun:test";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Channel } from "../../infra/link/link.ts";
import { type LinkLimits, linkLimits } from "../../infra/link/link-limits.ts";
import { relayedPurpose, relayPurpose } from "../../infra/link/relay-protocol.ts";
import { RelayStation } from "../../infra/link/relay-station.ts";
import { type LinkPair, linkPair } from "../support/link-pair.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const kib = 1024;
const target = "the target";
const head = [target, [["authorization", "signed"]]];

/** A relay alone, with a link to either side on which a test speaks for the other host. */
interface Joined {
  readonly clock: VirtualClock;
  readonly station: RelayStation;
  /** The link between the dialer and the relay, which is its acceptor. */
  readonly near: LinkPair;
  /** The link between the relay and the target, which is its acceptor. */
  readonly far: LinkPair;
  /** Opens a tunnel, and gives its two ends. */
  open(): Promise<{ readonly dialer: Channel; readonly target: Channel }>;
}

async function joined(limits: Partial<LinkLimits> = {}, relayedLinksMax = 10): Promise<Joined> {
  const clock = new VirtualClock();
  const near = await linkPair(limits, 5, clock);
  const far = await linkPair(limits, 5, clock);
  const station = new RelayStation({
    relayedLinksMax,
    heldBytesMax: linkLimits(limits).linkQueueBytes,
    direct: async (session) => {
      if (session === target) return far.dialer.link;
      throw new StatefulError("owner_unreachable", `no way to ${session}`);
    },
    admit: () => new StatefulError("unauthorized", "a relay only"),
    arrived: () => undefined,
  });
  const { handlers } = near.acceptor;
  const note = handlers.channel.bind(handlers);
  handlers.channel = (channel, purpose, given) =>
    station.channel(channel, purpose, given) ?? note(channel, purpose, given);
  const open = async () => {
    const dialer = near.dialer.link.open(relayPurpose, head, near.dialer.handlers.ofChannel);
    await clock.advance(50);
    const seen = far.acceptor.handlers.seen.findLast((each) => each.what === "channel");
    const end = seen && far.acceptor.handlers.channels.get(seen.id);
    if (end === undefined) throw new Error("The tunnel did not reach the target.");
    return { dialer, target: end };
  };
  return { clock, station, near, far, open };
}

/** Sends as a sender of bulk should, for as long as the channel lives. */
function pump(channel: Channel, messageBytes: number): { readonly sent: number } {
  const progress = { sent: 0 };
  void (async () => {
    for (;;) {
      await channel.writable();
      if (channel.send(2, new Uint8Array(messageBytes))) progress.sent += messageBytes;
    }
  })().catch(() => undefined);
  return progress;
}

describe("what a relay passes on", () => {
  test("K16: kinds, text and bytes, in order, both ways, and a close behind them", async () => {
    const { clock, near, far, open } = await joined();
    const tunnel = await open();
    expect(far.acceptor.handlers.seen).toMatchObject([
      { what: "channel", purpose: relayedPurpose, head: [[["authorization", "signed"]]] },
    ]);
    for (let n = 0; n < 50; n += 1) {
      tunnel.dialer.send(n, n % 2 === 0 ? `text ${n} é` : new Uint8Array(n * 1_000).fill(n));
      tunnel.target.send(100 + n, `back ${n}`);
    }
    await clock.advance(500);
    expect(near.dialer.handlers.messages().map(({ kind }) => kind)).toEqual(
      Array.from({ length: 50 }, (_, n) => 100 + n),
    );
    tunnel.dialer.close();
    await clock.advance(500);
    const there = far.acceptor.handlers.messages().map(({ kind, payload }) => [kind, payload.length]);
    expect(there).toEqual(
      Array.from({ length: 50 }, (_, n) => [n, n % 2 === 0 ? `text ${n} é`.length : n * 1_000]),
    );
    expect(far.acceptor.handlers.messages()[0]?.payload).toBe("text 0 é");
    expect(far.acceptor.handlers.closings()).toMatchObject([{ error: undefined }]);
  });

  test("K16: what the target said before it closed arrives first", async () => {
    const { clock, near, station, open } = await joined();
    const tunnel = await open();
    for (let n = 0; n < 20; n += 1) tunnel.target.send(1, new Uint8Array(100 * kib));
    tunnel.target.close();
    await clock.advance(2_000);
    expect(near.dialer.handlers.messages()).toHaveLength(20);
    expect(near.dialer.handlers.closings()).toMatchObject([{ error: undefined }]);
    expect(station.load).toEqual({ links: 0, waitingBytes: 0 });
  });

  test.each(["dialer", "target"] as const)(
    "K16: the error of a close by the %s crosses with its code and its details",
    async (side) => {
      const { clock, near, far, station, open } = await joined();
      const tunnel = await open();
      const error = new StatefulError("queue_full", "too much", {
        retryAfterMs: 1_500,
        details: { where: side },
      });
      tunnel[side].send(1, "last words");
      tunnel[side].close(error);
      await clock.advance(100);
      const other = side === "dialer" ? far.acceptor.handlers : near.dialer.handlers;
      expect(other.messages()).toMatchObject([{ payload: "last words" }]);
      expect(other.closings()).toMatchObject([
        { error: { code: "queue_full", message: "too much", retryAfterMs: 1_500, details: { where: side } } },
      ]);
      expect(station.load).toEqual({ links: 0, waitingBytes: 0 });
      expect([near.acceptor.link.channelCount, far.dialer.link.channelCount]).toEqual([0, 0]);
    },
  );
});

describe("back-pressure", () => {
  test.each([
    ["dialer", "target"],
    ["target", "dialer"],
  ] as const)(
    "K16: while the reader behind it is slow a relay holds little, and the sender waits: %s to %s",
    async (from, to) => {
      const { clock, near, far, station, open } = await joined();
      const reader = to === "target" ? far.acceptor.handlers : near.dialer.handlers;
      reader.consumes = false;
      const tunnel = await open();
      const progress = pump(tunnel[from], 64 * kib);
      await clock.advance(5_000);
      const { channelWindowBytes } = linkLimits();
      expect(progress.sent).toBeLessThanOrEqual(2 * (channelWindowBytes + 64 * kib));
      expect(station.load.waitingBytes).toBeLessThanOrEqual(channelWindowBytes + 64 * kib);
      const stalledAt = progress.sent;
      let consumed = 0;
      for (let round = 0; round < 200; round += 1) {
        for (const { payload } of reader.messages().slice(consumed / (64 * kib))) {
          tunnel[to].consumed(payload.length);
          consumed += payload.length;
        }
        await clock.advance(50);
        expect(station.load.waitingBytes).toBeLessThanOrEqual(channelWindowBytes + 64 * kib);
      }
      expect(progress.sent).toBeGreaterThan(10 * stalledAt);
      tunnel[from].close();
      tunnel[to].close();
      await clock.advance(100);
      expect(station.load).toEqual({ links: 0, waitingBytes: 0 });
    },
  );

  test("K16: a dialer past its window costs the relay its debt at most; what it sent arrives, and then that it was lost", async () => {
    const limits = linkLimits();
    const { clock, near, far, station, open } = await joined();
    far.acceptor.handlers.consumes = false;
    const tunnel = await open();
    let sent = 0;
    while (tunnel.dialer.send(2, new Uint8Array(512 * kib))) sent += 512 * kib;
    expect(sent).toBe(limits.channelDebtBytesMax);
    await clock.advance(500);
    expect(station.load.waitingBytes).toBeLessThanOrEqual(limits.channelDebtBytesMax);
    expect(tunnel.dialer.isOpen).toBe(true);
    near.network.cut();
    await clock.advance(10_000);
    for (const { payload } of far.acceptor.handlers.messages()) tunnel.target.consumed(payload.length);
    far.acceptor.handlers.consumes = true;
    await clock.advance(1_000);
    expect(far.acceptor.handlers.closings()).toMatchObject([{ error: { code: "outcome_unknown" } }]);
    expect(station.load).toEqual({ links: 0, waitingBytes: 0 });
  });

  test("K2 K16: messages without bytes, which no window counts, wait in a bounded number", async () => {
    const { clock, near, far, station, open } = await joined();
    far.acceptor.handlers.consumes = false;
    const tunnel = await open();
    const progress = pump(tunnel.dialer, 64 * kib);
    await clock.advance(1_000);
    expect(progress.sent).toBeGreaterThan(0);
    for (let round = 0; tunnel.dialer.isOpen && round < 100; round += 1) {
      for (let n = 0; n < 1_000; n += 1) tunnel.dialer.send(2, new Uint8Array(0));
      await clock.advance(50);
    }
    expect(near.dialer.handlers.closings()).toMatchObject([{ error: { code: "backpressure" } }]);
    far.acceptor.handlers.consumes = true;
    for (const { payload } of far.acceptor.handlers.messages()) tunnel.target.consumed(payload.length);
    await clock.advance(2_000);
    expect(far.acceptor.handlers.closings()).toMatchObject([{ error: { code: "backpressure" } }]);
    expect(station.load).toEqual({ links: 0, waitingBytes: 0 });
  });

  test("K16: a link whose queue is smaller than a message passes it on all the same", async () => {
    const { clock, far, open } = await joined({ linkQueueBytes: 32 * kib, linkWindowBytes: 32 * kib });
    const tunnel = await open();
    const progress = pump(tunnel.dialer, 100 * kib);
    await clock.advance(2_000);
    expect(progress.sent).toBeGreaterThan(1_000 * kib);
    expect(far.acceptor.handlers.messages().length).toBeGreaterThan(10);
    tunnel.dialer.close();
    await clock.advance(100);
  });
});

describe("what a relay refuses", () => {
  test.each([
    ["nothing", null],
    ["a text", "session"],
    ["too few parts", ["session"]],
    ["too many parts", ["session", [], 1]],
    ["an empty target", ["", []]],
    ["a target that is a number", [7, []]],
    ["an endless target", ["x".repeat(257), []]],
    ["headers that are no list", ["session", { authorization: "x" }]],
    ["too many headers", ["session", Array.from({ length: 9 }, () => ["a", "b"])]],
    ["a header without a value", ["session", [["authorization"]]]],
    ["a header of bytes", ["session", [["authorization", new Uint8Array(3)]]]],
    ["an endless header", ["session", [["authorization", "x".repeat(3_000)]]]],
    ["a number for a header", ["session", [7]]],
  ])("K2 K15: a head that is %s", async (_, hostile) => {
    const { clock, near, station } = await joined();
    near.dialer.link.open(relayPurpose, hostile, near.dialer.handlers.ofChannel);
    near.dialer.link.open(relayedPurpose, hostile, near.dialer.handlers.ofChannel);
    await clock.advance(100);
    const codes = near.dialer.handlers.closings().map(({ error }) => error?.code);
    expect(codes).toEqual(["bad_request", "bad_request"]);
    expect(near.dialer.link.isOpen).toBe(true);
    expect(station.load.links).toBe(0);
  });

  test("K15: a target that it cannot reach directly, with the reason", async () => {
    const { clock, near, station } = await joined();
    near.dialer.link.open(relayPurpose, ["elsewhere", []], near.dialer.handlers.ofChannel);
    await clock.advance(100);
    expect(near.dialer.handlers.closings()).toMatchObject([
      { error: { code: "owner_unreachable", message: "no way to elsewhere" } },
    ]);
    expect(station.load.links).toBe(0);
  });

  test("K15: the way back to where the tunnel comes from", async () => {
    const { clock, near } = await joined();
    const { session } = near.acceptor.link.peer;
    near.dialer.link.open(relayPurpose, [session, []], near.dialer.handlers.ofChannel);
    await clock.advance(100);
    expect(near.dialer.handlers.closings()).toMatchObject([{ error: { code: "bad_request" } }]);
  });

  test("K15: more links than its limit, until one of them ends", async () => {
    const { clock, near, open } = await joined({}, 2);
    const first = await open();
    await open();
    near.dialer.link.open(relayPurpose, head, near.dialer.handlers.ofChannel);
    await clock.advance(100);
    expect(near.dialer.handlers.closings()).toMatchObject([{ error: { code: "link_overloaded" } }]);
    first.dialer.close();
    await clock.advance(100);
    expect((await open()).dialer.isOpen).toBe(true);
  });

  test("K15: messages of a dialer whose target has not been reached yet", async () => {
    const { clock, near, station } = await joined();
    const eager = near.dialer.link.open(relayPurpose, head, near.dialer.handlers.ofChannel);
    eager.send(2, "at once");
    await clock.advance(100);
    expect(near.dialer.handlers.closings()).toMatchObject([{ error: { code: "bad_request" } }]);
    expect(station.load.links).toBe(0);
  });
});
