import { expect, test } from "bun:test";
import type { HostProcess } from "../support/host-process.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { ask, Stage } from "./stage.ts";

/** Of hosts whose edge must not lose its own session meanwhile. */
const leaseTtlMs = 6_000;

interface Scene {
  readonly owner: HostProcess;
  readonly edge: HostProcess;
  /**
   * From an owner's end until its objects' sockets, at another edge, have the next: the lease, and what is left of a search,
   * counted in starts of two hosts, which tell how slow the machine is.
   */
  readonly takeoverLimitMs: number;
}

/** Hosts of its own for each test: all wait for leases to run out, and do so at the same time. */
async function scene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await using stage = await Stage.open();
  const startMs = performance.now();
  const regions = ["iad", "ams"] as const;
  const [owner, edge] = await Promise.all(regions.map((region) => stage.host(region, { leaseTtlMs })));
  if (owner === undefined || edge === undefined) throw new Error("There are two hosts.");
  const takeoverLimitMs = leaseTtlMs + Math.max(4_000, 4 * (performance.now() - startMs));
  await play({ owner, edge, takeoverLimitMs });
}

async function startAt(host: HostProcess, path: string, method = "POST"): Promise<void> {
  await until("the object has started", async () => {
    const answer = await ask(host, path, method);
    return answer.status === 200 && answer.owner === host.id;
  });
}

const ends = {
  killed: (host: HostProcess) => host.kill(),
  frozen: async (host: HostProcess) => host.freeze(),
};

for (const [how, end] of Object.entries(ends))
  test.concurrent(
    `E22 a client at another edge stays connected when the owner is ${how}`,
    () =>
      scene(async ({ owner, edge, takeoverLimitMs }) => {
        await startAt(owner, "/ledger/x/first");
        const client = await SocketClient.open(edge.socketUrl("/ledger/x/live"));
        client.send("one");
        await client.hears(1);
        expect(client.heard).toEqual([`told one by ${owner.id}`]);
        const endedMs = performance.now();
        await end(owner);
        // What a lost owner was sent and did not acknowledge is gone with it; so this is said until somebody answers.
        await until(
          "the next owner answers",
          () => {
            if (client.heard.includes(`told again by ${edge.id}`)) return true;
            client.send("again");
            return undefined;
          },
          takeoverLimitMs,
        );
        expect(performance.now() - endedMs).toBeLessThan(takeoverLimitMs);
        await ask(edge, "/ledger/x/third");
        await until("it is still subscribed", () => client.heard.includes(`third by ${edge.id}`));
        expect(client.closing).toBeUndefined();
        client.close();
      }),
    60_000,
  );

test.concurrent(
  "E16 a request that a frozen host was sent fails as soon as its session has run out",
  () =>
    scene(async ({ owner, edge, takeoverLimitMs }) => {
      await startAt(owner, "/ledger/x/first");
      await ask(edge, "/ledger/x/second");
      owner.freeze();
      const sentMs = performance.now();
      const answer = await ask(edge, "/ledger/x/third");
      expect(answer).toMatchObject({ status: 502, code: "outcome_unknown" });
      expect(performance.now() - sentMs).toBeLessThan(takeoverLimitMs);
    }),
  60_000,
);

test.concurrent(
  "E23 where the class says so, a request waits for the next owner",
  () =>
    scene(async ({ owner, edge }) => {
      await startAt(owner, "/patient/x/", "GET");
      expect(await ask(edge, "/patient/x/", "GET")).toMatchObject({ owner: owner.id });
      await owner.kill();
      expect(await ask(edge, "/patient/x/", "GET")).toMatchObject({ status: 200, owner: edge.id });
    }),
  60_000,
);
