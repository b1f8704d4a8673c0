import { afterEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../infra/lib/clock.ts";
import { asStatefulError, type StatefulError } from "../../infra/lib/errors.ts";
import type { Log } from "../../infra/lib/log.ts";
import { FrameWriter } from "../../infra/link/frame.ts";
import type { Link, LinkTarget } from "../../infra/link/link.ts";
import { linkLimits } from "../../infra/link/link-limits.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import type { Transport } from "../../infra/link/transport.ts";
import { type LinkHost, type LinkHostOptions, linkHost, testSecret } from "../support/link-host.ts";
import { helloOf } from "../support/link-pair.ts";
import { until } from "../support/wait.ts";

const hosts: LinkHost[] = [];

function host(session: string, options?: LinkHostOptions): LinkHost {
  const started = linkHost(session, options);
  hosts.push(started);
  return started;
}

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((each) => each.stop()));
});

const failure = (link: Promise<Link>): Promise<StatefulError> =>
  link.then(() => Promise.reject(new Error("linked")), asStatefulError);
const linksOf = (each: LinkHost): number => [...each.pool.links()].length;
const nowhere = (session: string): LinkTarget => ({
  session,
  hostId: "x",
  region: "x",
  privateUrl: "http://127.0.0.1:1",
});

/** Sends a message each way and waits for both. */
async function talk(from: LinkHost, link: Link, to: LinkHost, text: string): Promise<void> {
  const channel = link.open("talk", null, from.handlers.ofChannel);
  channel.send(1, text);
  const hasArrived = (each: LinkHost) => each.handlers.messages().some(({ payload }) => payload === text);
  await until(`${text} arrived`, () => hasArrived(to));
  to.handlers.channels.get(channel.id)?.send(1, text);
  await until(`${text} came back`, () => hasArrived(from));
  channel.close();
}

describe("one link for two hosts", () => {
  test("K9: both use the one that either dialled, each way", async () => {
    const [a, b] = [host("a"), host("b")];
    const link = await a.pool.to(b.target());
    expect(link.peer).toEqual({ session: "b", hostId: "host-b", region: "ams" });
    await talk(a, link, b, "from a");
    const back = await b.pool.to(a.target());
    expect(back.peer).toEqual({ session: "a", hostId: "host-a", region: "ams" });
    await talk(b, back, a, "from b");
    expect([a.requests(), b.requests(), linksOf(a), linksOf(b)]).toEqual([0, 1, 1, 1]);
    expect(b.pool.peek("a")).toBe(back);
    expect(b.pool.peek("c")).toBeUndefined();
  });

  test("K12: concurrent calls share one dial", async () => {
    const [a, b] = [host("a"), host("b")];
    const links = await Promise.all(Array.from({ length: 50 }, () => a.pool.to(b.target())));
    expect(new Set(links).size).toBe(1);
    expect(b.requests()).toBe(1);
  });

  test("K9: when both dial at once, one link is left, and the same at both ends", async () => {
    for (let round = 0; round < 20; round += 1) {
      const [a, b] = [linkHost("a"), linkHost("b")];
      const [ab, ba] = await Promise.all([a.pool.to(b.target()), b.pool.to(a.target())]);
      await talk(a, ab, b, `from a ${round}`);
      await talk(b, ba, a, `from b ${round}`);
      expect([linksOf(a), linksOf(b), ab.isOpen, ba.isOpen]).toEqual([1, 1, true, true]);
      expect(
        [a.handlers.closings(), b.handlers.closings()].flat().filter(({ error }) => error !== undefined),
      ).toEqual([]);
      await Promise.all([a.stop(), b.stop()]);
    }
  });

  test("K9: a host that lost its link unnoticed by the peer gets a new one at once", async () => {
    const [a, b] = [host("a"), host("b")];
    const first = await a.pool.to(b.target());
    first.open("held", null, a.handlers.ofChannel);
    await until("the channel arrived", () => b.handlers.channels.size === 1);
    // The same session dials once more, as after a socket that only its own end knows to be dead.
    const twin = host("a");
    await failure(twin.pool.to(nowhere("c")));
    await twin.pool.to(b.target());
    await until("b moved to the new link", () => b.handlers.closings().length === 1);
    expect(b.handlers.closings()[0]?.error).toMatchObject({ code: "outcome_unknown" });
    expect(linksOf(b)).toBe(1);
  });
});

describe("late dials", () => {
  test("K9: a dial that began before the link opened is turned away, and the link stays", async () => {
    const [a, b] = [host("a"), host("b")];
    const link = await a.pool.to(b.target());
    const late = host("a");
    expect(await failure(late.pool.to(b.target()))).toMatchObject({ code: "owner_unreachable" });
    await talk(a, link, b, "still here");
  });
});

describe("who is refused", () => {
  test("K10: another secret, with the reason, and no word of either secret anywhere", async () => {
    const logged: unknown[] = [];
    const note = (event: string, fields: unknown) => logged.push(event, fields);
    const log: Log = { debug: note, info: note, warn: note, error: note };
    const [a, b] = [host("a", { secrets: ["a wrong secret, much too wrong"], log }), host("b", { log })];
    const error = await failure(a.pool.to(b.target()));
    expect(error).toMatchObject({ code: "owner_unreachable", cause: { code: "unauthorized" } });
    expect(error.message).toContain("is not signed with this cluster's secret");
    expect(linksOf(b)).toBe(0);
    expect(logged.length).toBeGreaterThan(0);
    expect(Bun.inspect(logged, { depth: 20 })).not.toContain("much too wrong");
    expect(Bun.inspect(logged, { depth: 20 })).not.toContain(testSecret);
  });

  test("K10: a captured upgrade request, sent again", async () => {
    const b = host("b");
    const secret = new LinkSecret([testSecret], systemClock);
    const { headers } = secret.sign({ session: "a", hostId: "host-a", region: "ams" }, "b", 1);
    const url = `${b.target().privateUrl}/-/link`;
    const first = await fetch(url, { headers });
    expect([first.status, (await first.json()).code]).toEqual([426, "upgrade_required"]);
    const again = await fetch(url, { headers });
    expect([again.status, (await again.json()).detail]).toEqual([
      401,
      "The link's authorization was used before.",
    ]);
  });

  test("K10: an acceptor without the secret is not believed", async () => {
    const a = host("a");
    const hello = new FrameWriter();
    hello.hello(helloOf("b", linkLimits()));
    const impostor = Bun.serve({
      port: 0,
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("")),
      websocket: { open: (ws) => void ws.send(hello.bytes()), message: () => undefined },
    });
    const error = await failure(
      a.pool.to({ ...nowhere("session-b"), privateUrl: `http://127.0.0.1:${impostor.port}` }),
    );
    expect(String(error)).toContain("ended: the peer broke the protocol");
    expect(Bun.inspect(error.cause)).toContain("did not prove that it has this cluster's secret");
    await impostor.stop(true);
  });

  test("K11: two hosts take the highest version that both speak, whoever dials", async () => {
    const ranges = [
      { one: [1, 1], other: [1, 2], version: 1 },
      { one: [1, 2], other: [2, 3], version: 2 },
      { one: [2, 4], other: [1, 9], version: 4 },
    ] as const;
    for (const [index, { one, other, version }] of ranges.entries()) {
      const a = host(`a${index}`, { versions: { oldest: one[0], newest: one[1] } });
      const b = host(`b${index}`, { versions: { oldest: other[0], newest: other[1] } });
      const link = await (index === 1 ? b.pool.to(a.target()) : a.pool.to(b.target()));
      expect(link.version).toBe(version);
      const dialled = index === 1 ? a : b;
      const there = await until("the other side has the link", () => [...dialled.pool.links()][0]);
      expect(there.version).toBe(version);
    }
  });

  test("K11: hosts without a version in common refuse each other, naming both, and no relay is asked", async () => {
    const relay = host("relay");
    const a = host("a", { versions: { oldest: 1, newest: 2 }, hosts: () => [relay.target()] });
    const b = host("b", { versions: { oldest: 3, newest: 4 } });
    for (const [from, to] of [[a, b] as const, [b, a] as const]) {
      const error = await failure(from.pool.to(to.target()));
      expect(error.code).toBe("version_mismatch");
      expect(error.message).toContain("versions 1 to 2");
      expect(error.message).toContain("versions 3 to 4");
      expect(error.retryable).toBe(true);
    }
    expect(relay.requests()).toBe(0);
  });

  test("K11: a dialer of the first release, which knows no such code, is told in one that it knows", async () => {
    const later = host("later", { versions: { oldest: 2, newest: 3 } });
    const response = await fetch(`${later.target().privateUrl}/-/link`, {
      headers: { "stateful-link-version": "1" },
    });
    expect(response.status).toBe(400);
    expect((await response.json()).detail).toContain("the peer speaks version 1");
  });

  test("K13: a restarted host at the same address is noticed at once", async () => {
    const a = host("a");
    const restarted = host("b-2");
    const error = await failure(a.pool.to({ ...restarted.target(), session: "b-1" }));
    expect(error).toMatchObject({
      code: "not_owner",
      message: "Host host-b-2 is not session b-1, which is over or elsewhere.",
    });
    expect((await a.pool.to(restarted.target())).isOpen).toBe(true);
  });

  test("a host does not link to itself, and takes no more links than its limit", async () => {
    const [a, b, c] = [host("a"), host("b", { limits: { linksMax: 1 } }), host("c")];
    expect((await failure(b.pool.to(b.target()))).message).toContain("it is this host itself");
    await a.pool.to(b.target());
    expect((await failure(c.pool.to(b.target()))).cause).toMatchObject({ code: "host_full" });
    expect((await failure(b.pool.to(c.target()))).message).toContain("has its 1 links");
  });
});

describe("dials that fail", () => {
  test("K12: while backing off calls fail at once, then it is dialled again, and success forgets the failures", async () => {
    const a = host("a", { limits: { backoffMinMs: 150, backoffMaxMs: 300 }, random: () => 0 });
    const first = await failure(a.pool.to(nowhere("b")));
    expect(first).toMatchObject({ code: "owner_unreachable", retryAfterMs: undefined });
    const before = performance.now();
    const fast = await failure(a.pool.to(nowhere("b")));
    expect(performance.now() - before).toBeLessThan(20);
    expect(fast.message).toBe(first.message);
    expect(fast.retryAfterMs).toBeGreaterThan(0);
    const started = host("b");
    const link = await until("the pause is over and the host linked", async () =>
      a.pool.to(started.target()).catch(() => undefined),
    );
    expect(link.isOpen).toBe(true);
    expect(performance.now() - before).toBeGreaterThan(50);
  });

  test("K12: a host that accepts and never speaks is given up after the dial timeout", async () => {
    const a = host("a", { limits: { linkDialTimeoutMs: 200 } });
    const silent = Bun.serve({
      port: 0,
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("")),
      websocket: { message: () => undefined },
    });
    const error = await failure(
      a.pool.to({ ...nowhere("b"), privateUrl: `http://127.0.0.1:${silent.port}` }),
    );
    expect(error).toMatchObject({ code: "owner_unreachable" });
    expect(error.message).toContain("a hello did not come within 200 ms");
    await until("its socket is gone", () => silent.pendingWebSockets === 0);
    await silent.stop(true);
  });

  test("K12: a port that takes connections and says nothing is given up after the dial timeout", async () => {
    const a = host("a", { limits: { linkDialTimeoutMs: 200 } });
    const mute = Bun.listen({ port: 0, hostname: "127.0.0.1", socket: { data: () => undefined } });
    const error = await failure(a.pool.to({ ...nowhere("b"), privateUrl: `http://127.0.0.1:${mute.port}` }));
    expect(error.message).toContain("did not come within 200 ms");
    mute.stop(true);
  });

  test("K12: a link lost for a moment is dialled anew without a pause", async () => {
    const [a, b] = [host("a"), host("b")];
    const first = await a.pool.to(b.target());
    first.close(asStatefulError(new Error("a test")));
    const second = await a.pool.to(b.target());
    expect(second).not.toBe(first);
    await talk(a, second, b, "again");
  });
});

describe("sessions come and go", () => {
  test("K13: a host under a new session closes what the old one had, and is linked under the new one", async () => {
    const [a, b] = [host("a"), host("b-1")];
    const link = await a.pool.to(b.target());
    const channel = link.open("old", null, a.handlers.ofChannel);
    await until("the channel arrived", () => b.handlers.channels.size === 1);
    b.renameSession("b-2");
    expect(b.handlers.closings()).toMatchObject([{ id: channel.id, error: { code: "session_over" } }]);
    await until("the peer heard", () => a.handlers.closings().length === 1);
    expect(a.handlers.closings()).toMatchObject([{ error: { code: "outcome_unknown" } }]);
    expect((await a.pool.to(b.target())).peer.session).toBe("b-2");
    expect(linksOf(a)).toBe(1);
  });

  test("retain closes what leads to sessions that are over, and spares what is young", async () => {
    const [a, b, c] = [host("a", { limits: { retainGraceMs: 0 } }), host("b"), host("c")];
    await a.pool.to(b.target());
    await a.pool.to(c.target());
    b.pool.retain(new Set());
    expect(linksOf(b)).toBe(1);
    a.pool.retain(new Set(["c"]));
    expect([...a.pool.links()].map(({ peer }) => peer.session)).toEqual(["c"]);
    await until("b heard", () => linksOf(b) === 0);
  });

  test("a closed pool has told its peers, has no socket left, and takes and gives no links", async () => {
    const [a, b] = [host("a"), host("b")];
    await a.pool.to(b.target());
    await a.pool.close();
    await until("b heard", () => linksOf(b) === 0);
    expect((await failure(a.pool.to(b.target()))).message).toContain("this host is going away");
    expect((await failure(b.pool.to(a.target()))).cause).toMatchObject({ code: "host_draining" });
  });

  test("K8: a peer that stopped speaking is found by its silence, and what waits for it ends", async () => {
    let isMute = false;
    const mutable = (inner: Transport): Transport => ({
      start: (handlers) => inner.start(handlers),
      send: (message) => isMute || inner.send(message),
      close: () => inner.close(),
      abort: () => inner.abort(),
    });
    const a = host("a", { limits: { heartbeatMs: 50 } });
    const b = host("b", { wrap: mutable, limits: { heartbeatMs: 50 } });
    const link = await a.pool.to(b.target());
    link.open("wait", null, a.handlers.ofChannel);
    await until("heartbeats passed", () => link.roundTripMs !== undefined);
    isMute = true;
    const cutAt = performance.now();
    await until("the silence was noticed", () => a.handlers.closings().length === 1, 2_000);
    expect(performance.now() - cutAt).toBeGreaterThan(100);
    expect(a.handlers.closings()[0]?.error?.message).toContain("nothing was heard for 150 ms");
    await until("b heard", () => linksOf(b) === 0);
  });
});
