import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Link } from "../../infra/link/link.ts";
import { LinkNetwork, type SimulatedHost } from "../support/link-network.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/** Numbers from 0 up to 1 that a failing run can replay: fast-check prints the seed. */
function numbers(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const seed = fc.integer({ min: 1, max: 2 ** 31 });
const openLinks = (host: SimulatedHost): Link[] => [...host.pool.links()];

test("K9: whenever two hosts dial, and however late anything arrives, all their channels share one link", async () => {
  await fc.assert(
    fc.asyncProperty(seed, async (from) => {
      const random = numbers(from);
      const clock = new VirtualClock();
      const network = new LinkNetwork(clock, () => Math.floor(random() * 300));
      const hosts = [network.host("a"), network.host("b")] as const;
      const linked: Promise<void>[] = [];
      for (let call = 0; call < 6; call += 1) {
        const [one, other] = random() < 0.5 ? hosts : ([hosts[1], hosts[0]] as const);
        const use = async () => {
          const link = await one.pool.to(other.target);
          link.open("use", call, one.handlers.ofChannel).send(1, `call ${call}`);
        };
        clock.after(Math.floor(random() * 800), () => linked.push(use()));
      }
      await clock.advance(6_000);
      await Promise.all(linked);
      const heard = hosts.flatMap(({ handlers }) => handlers.messages().map(({ payload }) => payload));
      expect(heard.sort()).toEqual(["call 0", "call 1", "call 2", "call 3", "call 4", "call 5"]);
      expect(hosts.flatMap(({ handlers }) => handlers.closings())).toEqual([]);
      expect(hosts.map((host) => openLinks(host).length)).toEqual([1, 1]);
    }),
    { numRuns: 150 },
  );
}, 60_000);

test("K9, K12: after cut cables and lost dials two hosts come back to one link that works both ways", async () => {
  await fc.assert(
    fc.asyncProperty(seed, async (from) => {
      const random = numbers(from);
      const clock = new VirtualClock();
      const network = new LinkNetwork(clock, () => Math.floor(random() * 300));
      const hosts = [network.host("a"), network.host("b")] as const;
      const attempts: Promise<unknown>[] = [];
      for (let step = 0; step < 15; step += 1) {
        clock.after(Math.floor(random() * 20_000), () => {
          const what = random();
          const [one, other] = random() < 0.5 ? hosts : ([hosts[1], hosts[0]] as const);
          if (what < 0.15) return network.cutAll();
          if (what < 0.3) one.isLost = !one.isLost;
          else
            attempts.push(
              one.pool.to(other.target).catch((error: unknown) => expect(error).toHaveProperty("code")),
            );
        });
      }
      // Longest of all that may still be under way: a dial, its back-off, and the finding of a dead peer.
      await clock.advance(20_000 + 15_000);
      await Promise.all(attempts);
      for (const host of hosts) host.isLost = false;
      await expectOneLink(clock, hosts);
    }),
    { numRuns: 150 },
  );
}, 60_000);

async function expectOneLink(
  clock: VirtualClock,
  hosts: readonly [SimulatedHost, SimulatedHost],
): Promise<void> {
  for (const [one, other] of [hosts, [hosts[1], hosts[0]] as const]) {
    const linking = one.pool.to(other.target);
    await clock.advance(4_000);
    const link = await linking;
    link.open("after", null, one.handlers.ofChannel).send(1, `from ${one.target.session}`);
    await clock.advance(1_000);
    expect(other.handlers.messages().map(({ payload }) => payload)).toContain(`from ${one.target.session}`);
    expect(hosts.map((host) => openLinks(host).length)).toEqual([1, 1]);
  }
}

test("K9: while the lower session's dial is under way the other's waits, and takes over if it fails", async () => {
  const clock = new VirtualClock();
  const network = new LinkNetwork(clock, () => 10);
  const [a, b] = [network.host("a"), network.host("b")];
  a.isLost = true;
  const ab = a.pool.to(b.target);
  await clock.advance(500);
  const ba = b.pool.to(a.target);
  await clock.advance(2_400);
  expect(openLinks(a).length + openLinks(b).length).toBe(0);
  await clock.advance(200);
  const links = await Promise.all([ab, ba]);
  expect(links.map(({ isOpen, peer }) => [peer.session, isOpen])).toEqual([
    ["b", true],
    ["a", true],
  ]);
  expect(b.pool.peek("a")).toBe(links[1]);
});
