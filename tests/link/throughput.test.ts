import { expect, test } from "bun:test";
import { frameBytesMax } from "../../infra/link/frame.ts";
import type { Channel, ChannelHandlers } from "../../infra/link/link.ts";
import { LinkConnection } from "../../infra/link/link-connection.ts";
import { defaultLinkLimits } from "../../infra/link/link-limits.ts";
import { linkHost } from "../support/link-host.ts";
import { RecordingHandlers } from "../support/link-pair.ts";
import { until } from "../support/wait.ts";

const mib = 1024 * 1024;

/** Counts what arrives and answers each message with its first byte. */
class CountingHandlers extends RecordingHandlers {
  received = 0;

  override channel(channel: Channel): ChannelHandlers {
    this.channels.set(channel.id, channel);
    return {
      message: (from, kind, payload) => {
        this.received += payload.length;
        from.consumed(payload.length);
        if (kind === 2) from.send(2, "pong");
      },
      closed: () => undefined,
    };
  }
}

test("K4, K5: 200 MiB through one channel over a real socket, with bounded buffers at both ends", async () => {
  const handlers = new CountingHandlers();
  const [a, b] = [linkHost("a"), linkHost("b", { handlers })];
  const link = await a.pool.to(b.target());
  if (!(link instanceof LinkConnection)) throw new Error("not a connection");
  const channel = link.open("bulk", null, a.handlers.ofChannel);
  const chunk = new Uint8Array(64 * 1024);
  const total = 200 * mib;
  let held = 0;
  let ahead = 0;
  const startedAt = performance.now();
  for (let sent = 0; sent < total; sent += chunk.byteLength) {
    while (!channel.send(1, chunk)) await channel.writable();
    held = Math.max(held, link.heldBytes.queued + link.heldBytes.inFlight);
    ahead = Math.max(ahead, sent + chunk.byteLength - handlers.received);
    await channel.writable();
  }
  await until("200 MiB arrived", () => handlers.received === total, 20_000);
  const seconds = (performance.now() - startedAt) / 1_000;
  console.log(`link: 200 MiB in one channel, both ends in one process: ${Math.round(200 / seconds)} MiB/s`);
  expect(ahead).toBeLessThanOrEqual(defaultLinkLimits.channelWindowBytes + chunk.byteLength);
  // What was not acknowledged yet is mostly long received: acknowledgements come by quarters of the window.
  expect(held).toBeLessThanOrEqual(defaultLinkLimits.linkWindowBytes / 4 + ahead + 2 * frameBytesMax + mib);
  await Promise.all([a.stop(), b.stop()]);
}, 60_000);

test("round trips of small messages over one link, for the record", async () => {
  const [a, b] = [linkHost("a"), linkHost("b", { handlers: new CountingHandlers() })];
  const link = await a.pool.to(b.target());
  const roundTrip = (): Promise<void> =>
    new Promise((resolve) => {
      const message = (channel: Channel, _kind: number, payload: string | Uint8Array) => {
        channel.consumed(payload.length);
        channel.close();
        resolve();
      };
      link.open("request", { method: "GET" }, { message, closed: () => undefined }).send(2, "ping");
    });
  for (const concurrency of [1, 64]) {
    const times: number[] = [];
    const endAt = performance.now() + 400;
    const startedAt = performance.now();
    const worker = async () => {
      while (performance.now() < endAt) {
        const sentAt = performance.now();
        await roundTrip();
        times.push(performance.now() - sentAt);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
    const perSecond = Math.round((1_000 * times.length) / (performance.now() - startedAt));
    const median = times.sort((one, other) => one - other)[times.length >> 1] ?? 0;
    console.log(`link: ${perSecond} round trips/s, ${concurrency} at a time, median ${median.toFixed(3)} ms`);
    expect(times.length).toBeGreaterThan(0);
  }
  expect([...a.handlers.closings()]).toEqual([]);
  await Promise.all([a.stop(), b.stop()]);
});
