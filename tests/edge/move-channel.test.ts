import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  fromSource,
  fromTarget,
  MoveLinks,
  movePartBytesMax,
  movePurpose,
  prepareLimitMs,
  ServedMove,
} from "../../infra/edge/move-channel.ts";
import { decodeMoveOffer, encodeMoveOffer, offeredEdgesMax } from "../../infra/edge/move-offer.ts";
import { moveBytesMax } from "../../infra/host/move-package.ts";
import type { Arrival, MoveOffer } from "../../infra/host/move-ports.ts";
import type { HostRecord } from "../../infra/lease/directory.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { Channel } from "../../infra/link/link.ts";
import { packValue, unpackChecked } from "../../infra/link/msgpack.ts";
import { linkPair } from "../support/link-pair.ts";

const edge = { process: "p", hostId: "edge", region: "nrt" };
const offer: MoveOffer = {
  ref: objectRef("room", "a b"),
  epoch: 1_700_000_000_000,
  toSession: "target.1",
  dataVersion: 3,
  codeVersion: "v2",
  edges: [edge],
};
const target: HostRecord = {
  ...{ session: "target.1", hostId: "acceptor", region: "ams", privateUrl: "", publicUrl: "" },
  ...{ classes: ["room"], version: "v2", draining: false },
  load: { objects: 0, objectsMax: 10, memoryUsedBytes: 0, memoryLimitBytes: 10 },
};

/** What the target's host was told, in order. */
class RecordedArrival implements Arrival {
  readonly told: string[] = [];
  bytes: Uint8Array | undefined;
  refusal: StatefulError | undefined;
  /** What it has room for. */
  bytesMax = Number.POSITIVE_INFINITY;
  readonly reserved: number[] = [];

  reserve(bytes: number): void {
    if (bytes > this.bytesMax) throw new StatefulError("move_failed", "no room", { retryAfterMs: 250 });
    this.reserved.push(bytes);
  }
  deliver(bytes: Uint8Array): void {
    if (this.refusal) throw this.refusal;
    this.bytes = bytes;
    this.told.push(`deliver ${bytes.length}`);
  }
  go(epoch: number): void {
    this.told.push(`go ${epoch}`);
  }
  cancelled(): void {
    this.told.push("cancelled");
  }
  undecided(): void {
    this.told.push("undecided");
  }
}

/** Two hosts that are linked: the dialer moves objects to the acceptor. */
async function stage(codeVersion = "v2", refusal?: StatefulError) {
  const pair = await linkPair();
  const { clock, dialer, acceptor } = pair;
  const arrival = new RecordedArrival();
  const offered: MoveOffer[] = [];
  const reached: string[] = [];
  const channels: Channel[] = [];
  acceptor.handlers.channel = (channel, purpose, head) => {
    expect(purpose).toBe(movePurpose);
    channels.push(channel);
    return new ServedMove(channel, head, {
      arrivals: {
        offered(given) {
          if (refusal) throw refusal;
          offered.push(given);
          return arrival;
        },
      },
      codeVersion,
      reach: (edges) => reached.push(...edges.map(({ hostId }) => hostId)),
    });
  };
  const moves = new MoveLinks({ links: { to: async () => dialer.link }, clock });
  /** Resolves as `work` does, with time standing still. */
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => undefined);
    await clock.advance(1);
    return work;
  };
  const begin = () => settled(moves.begin(target, offer));
  return { ...pair, arrival, offered, reached, channels, moves, begin, settled };
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (thrown) => (thrown instanceof StatefulError ? thrown.code : String(thrown)),
  );

describe("E24 L7 a move between two hosts", () => {
  test("the target prepares, has it all, and goes when it is told", async () => {
    const { begin, settled, arrival, offered, reached, channels, clock } = await stage();
    const conversation = await begin();
    expect(offered).toEqual([offer]);
    expect(reached).toEqual(["edge"]);
    await settled(conversation.deliver(new Uint8Array([1, 2, 3])));
    expect(arrival.bytes).toEqual(new Uint8Array([1, 2, 3]));
    conversation.go(7);
    await clock.advance(1);
    expect(arrival.told).toEqual(["deliver 3", "go 7"]);
    expect(channels.map(({ isOpen }) => isOpen)).toEqual([false]);
  });

  test.each([0, 1, movePartBytesMax, movePartBytesMax + 1, 5_000_000])(
    "%d bytes arrive whole",
    async (size) => {
      const { begin, settled, arrival } = await stage();
      const bytes = new Uint8Array(size).map((_, index) => index * 7);
      await settled((await begin()).deliver(bytes));
      expect(arrival.bytes).toEqual(bytes);
    },
  );

  test.each(["host_full", "host_draining", "unknown_class", "session_over", "move_failed"] as const)(
    "a refusal with %s keeps its code and says why",
    async (code) => {
      const { begin } = await stage("v2", new StatefulError(code, "not today", { details: { reason: "x" } }));
      const refused = await begin().then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(refused).toMatchObject({ code, message: "not today", details: { reason: "x" } });
    },
  );

  test("a host of an older version refuses, one of a newer does not", async () => {
    const older = await stage("v1");
    expect(await codeOf(older.begin())).toBe("move_failed");
    expect(older.offered).toEqual([]);
    const newer = await stage("v10");
    await newer.begin();
    expect(newer.offered).toHaveLength(1);
  });

  test("what the target cannot go on from is told with its code, and nothing is kept", async () => {
    const { begin, settled, arrival } = await stage();
    const conversation = await begin();
    arrival.refusal = new StatefulError("storage_limit", "too much");
    expect(await codeOf(settled(conversation.deliver(new Uint8Array(9))))).toBe("storage_limit");
    expect(arrival.told).toEqual(["undecided"]);
  });

  test("a package for which there is no room is refused before its bytes are sent, and nothing is kept", async () => {
    const { begin, settled, arrival, dialer } = await stage();
    const conversation = await begin();
    arrival.bytesMax = 9 * movePartBytesMax;
    const error = await settled(conversation.deliver(new Uint8Array(10 * movePartBytesMax))).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: "move_failed", message: "no room", retryAfterMs: 250 });
    expect([arrival.reserved, arrival.told, dialer.link.isOpen]).toEqual([[], ["cancelled"], true]);
  });

  test("room is asked for once, with the size that is announced", async () => {
    const { begin, settled, arrival } = await stage();
    await settled((await begin()).deliver(new Uint8Array(2 * movePartBytesMax + 1)));
    expect(arrival.reserved[0]).toBe(2 * movePartBytesMax + 1);
    expect(Math.max(...arrival.reserved)).toBe(2 * movePartBytesMax + 1);
  });

  test("a source that announces nothing, or too little, is counted while it sends", async () => {
    for (const announced of [undefined, 1]) {
      const { dialer, arrival, clock } = await stage();
      arrival.bytesMax = 5;
      let ended: StatefulError | undefined;
      const channel = dialer.link.open(movePurpose, encodeMoveOffer(offer), {
        message: () => undefined,
        closed: (_channel, error) => {
          ended = error;
        },
      });
      if (announced !== undefined) channel.send(fromSource.size, packValue([announced]));
      for (let n = 0; n < 2; n++) channel.send(fromSource.part, new Uint8Array(3));
      await clock.advance(1);
      expect([ended?.code, Math.max(...arrival.reserved)]).toEqual(["move_failed", 3]);
      expect(arrival.told).toEqual(["cancelled"]);
    }
  });

  test("called off: the target forgets it; undecided, or without a word: it asks", async () => {
    const why = new StatefulError("move_failed", "handlers are open");
    const ends = [
      [(conversation: Conversation) => conversation.cancel(why, false), "cancelled"],
      [(conversation: Conversation) => conversation.cancel(why, true), "undecided"],
    ] as const;
    for (const [end, told] of ends) {
      const { begin, arrival, clock } = await stage();
      end(await begin());
      await clock.advance(1);
      expect(arrival.told).toEqual([told]);
    }
    const { begin, settled, arrival, dialer, clock } = await stage();
    await settled((await begin()).deliver(new Uint8Array(3)));
    dialer.link.close(new StatefulError("owner_unreachable", "the source is gone"));
    await clock.advance(1);
    expect(arrival.told).toEqual(["deliver 3", "undecided"]);
  });

  test("a link that is lost before the target has said anything leaves it unreachable, and nothing open", async () => {
    const { moves, acceptor, arrival, clock } = await stage();
    acceptor.handlers.channel = (channel) => {
      queueMicrotask(() => channel.link.close(new StatefulError("internal", "gone")));
      return { message: () => undefined, closed: () => undefined };
    };
    const begun = codeOf(moves.begin(target, offer));
    await clock.advance(1);
    expect(await begun).toBe("owner_unreachable");
    expect(arrival.told).toEqual([]);
  });

  test("a link that does not come about is waited for within the same limit, and not used later", async () => {
    const { dialer, clock, offered } = await stage();
    const dialled = Promise.withResolvers<typeof dialer.link>();
    const begun = codeOf(new MoveLinks({ links: { to: () => dialled.promise }, clock }).begin(target, offer));
    await clock.advance(prepareLimitMs + 1);
    expect(await begun).toBe("owner_unreachable");
    dialled.resolve(dialer.link);
    await clock.advance(1);
    expect(offered).toEqual([]);
  });

  test("a target whose session is over refuses as such: not_owner is only ever said of the object", async () => {
    const { clock } = await linkPair();
    const restarted = async () => {
      throw new StatefulError(
        "not_owner",
        "Host acceptor is not session target.1, which is over or elsewhere.",
      );
    };
    const moves = new MoveLinks({ links: { to: restarted }, clock });
    await expect(moves.begin(target, offer)).rejects.toMatchObject({ code: "session_over" });
  });

  test("a target that says nothing is given up in time, and told so", async () => {
    const { moves, acceptor, clock } = await stage();
    let closedWith: string | undefined = "never";
    acceptor.handlers.channel = () => ({
      message: () => undefined,
      closed: (_, error) => {
        closedWith = error?.code;
      },
    });
    const begun = codeOf(moves.begin(target, offer));
    await clock.advance(prepareLimitMs + 1);
    expect([await begun, closedWith]).toEqual(["owner_unreachable", "move_failed"]);
  });
});

type Conversation = Awaited<ReturnType<MoveLinks["begin"]>>;

describe("E24 what a source must not do ends the channel with bad_request, and the target asks or forgets", () => {
  const whole = new Uint8Array(3);
  const cases: ReadonlyArray<readonly [string, readonly (readonly [number, Uint8Array | string])[]]> = [
    ["go before it is there", [[fromSource.go, packValue([1])]]],
    [
      "a part after the end",
      [
        [fromSource.partEnd, whole],
        [fromSource.part, whole],
      ],
    ],
    [
      "two ends",
      [
        [fromSource.partEnd, whole],
        [fromSource.partEnd, whole],
      ],
    ],
    ["a size over what may be sent", [[fromSource.size, packValue([moveBytesMax + 1])]]],
    ["a size that is none", [[fromSource.size, packValue([-1])]]],
    ["a part that is too large", [[fromSource.part, new Uint8Array(movePartBytesMax + 1)]]],
    ["text", [[fromSource.part, "text"]]],
    [
      "an epoch that is none",
      [
        [fromSource.partEnd, whole],
        [fromSource.go, packValue(["1"])],
      ],
    ],
    [
      "an epoch below 0",
      [
        [fromSource.partEnd, whole],
        [fromSource.go, packValue([-1])],
      ],
    ],
    [
      "bytes that are nothing",
      [
        [fromSource.partEnd, whole],
        [fromSource.go, new Uint8Array([0xc1])],
      ],
    ],
  ];
  test.each(cases)("%s", async (_, messages) => {
    const { dialer, arrival, clock } = await stage();
    let ended: StatefulError | undefined;
    const channel = dialer.link.open(movePurpose, encodeMoveOffer(offer), {
      message: () => undefined,
      closed: (_channel, error) => {
        ended = error;
      },
    });
    await clock.advance(1);
    for (const [kind, payload] of messages) channel.send(kind, payload);
    await clock.advance(1);
    expect(ended?.code).toBe("bad_request");
    expect(arrival.told.at(-1)).toBe("undecided");
    expect(arrival.told.some((told) => told.startsWith("go"))).toBe(false);
  });

  test("messages of a kind that this version does not know are passed over", async () => {
    const { dialer, arrival, clock } = await stage();
    const kinds: number[] = [];
    const channel = dialer.link.open(movePurpose, encodeMoveOffer(offer), {
      message: (_, kind) => void kinds.push(kind),
      closed: () => undefined,
    });
    channel.send(9, whole);
    channel.send(fromSource.partEnd, whole);
    await clock.advance(1);
    expect(kinds).toEqual([fromTarget.prepared, fromTarget.ready]);
    expect(arrival.told).toEqual(["deliver 0"]);
  });
});

describe("the offer", () => {
  const text = fc.string({ unit: "binary", maxLength: 30 }).filter((value) => value.isWellFormed());
  const ids = text.filter((id) => id !== "" && id !== "." && id !== "..");
  const names = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
  const edges = fc.array(fc.record({ process: text, hostId: text, region: text }), { maxLength: 5 });
  const offers: fc.Arbitrary<MoveOffer> = fc.record({
    ref: fc.tuple(names, ids).map(([name, id]) => objectRef(name, id)),
    epoch: whole,
    toSession: text,
    dataVersion: whole,
    codeVersion: text,
    edges,
  });
  const overTheLink = (value: unknown) => unpackChecked(packValue(value));

  test("arrives as it was sent", () => {
    fc.assert(
      fc.property(offers, (sent) => {
        expect(decodeMoveOffer(overTheLink(encodeMoveOffer(sent)))).toEqual(sent);
      }),
    );
  });

  test("names so many edges at most, and a later version may add to it", () => {
    const edges = Array.from({ length: offeredEdgesMax + 5 }, (_, n) => ({ ...edge, process: `${n}` }));
    const decoded = decodeMoveOffer([...encodeMoveOffer({ ...offer, edges }), "more"]);
    expect(decoded.edges).toEqual(edges.slice(0, offeredEdgesMax));
  });

  test("anything else is bad_request and nothing else", () => {
    const sound = (hostile: unknown) => {
      try {
        decodeMoveOffer(hostile);
      } catch (thrown) {
        if (!(thrown instanceof StatefulError)) throw thrown;
        expect(thrown.code).toBe("bad_request");
      }
    };
    fc.assert(fc.property(fc.anything(), sound));
    fc.assert(
      fc.property(offers, fc.nat({ max: 6 }), fc.anything(), (sent, index, wrong) => {
        const array = encodeMoveOffer(sent);
        array[index] = wrong;
        sound(array);
      }),
      { numRuns: 1_000 },
    );
  });
});
