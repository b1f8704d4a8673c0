import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteHostProcess } from "../support/byte-host-process.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";

/**
 * Bodies that are larger than what may wait anywhere between a client and a handler. Each host is a process, so that its
 * resident memory is its own. Three figures bound it: what the kernel and Bun take in for a reader that does not read,
 * what the window of a channel lets through, and the garbage of chunks that have passed.
 */
const megabyte = 1024 * 1024;
const bodyMegabytes = Number(process.env.STATEFUL_TEST_BODY_MB ?? "256");
const bodyBytes = bodyMegabytes * megabyte;
/** What one process may grow by, whatever the size of the body. */
const growthBytesMax = 96 * megabyte;
/** What may be under way between a client and a handler that reads nothing, or a handler and such a client. */
const underWayBytesMax = 32 * megabyte;
const transferLimitMs = 10_000 + bodyMegabytes * 100;

let folder: string;
let iad: ByteHostProcess;
let ams: ByteHostProcess;
let nrt: ByteHostProcess;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateful-bytes-"));
  const directoryUrl = `file:${join(folder, "directory.db")}`;
  [iad, ams, nrt] = (await Promise.all(
    (["iad", "ams", "nrt"] as const).map((region) => ByteHostProcess.start(region, directoryUrl)),
  )) as [ByteHostProcess, ByteHostProcess, ByteHostProcess]; // Promise.all keeps the length of a tuple, map does not
  await until("all hosts know each other", async () => {
    const counts = await Promise.all([iad, ams, nrt].map((host) => host.ask({ ask: "count" })));
    return counts.every(({ hosts }) => hosts === 3);
  });
  // What is compiled and allocated once is not what these tests are about.
  await Promise.all([iad, ams].map((host) => upload(host, "warm", 16 * megabyte)));
  for (const host of [iad, ams])
    await (await fetch(`http://localhost:${host.port}/bytes/warm/256`)).arrayBuffer();
});
afterAll(async () => {
  await Promise.all([iad, ams, nrt].map((host) => host?.stop()));
  await rm(folder, { recursive: true, force: true });
});

/** A client that sends as fast as it is let, and counts what was taken from it. */
class Uploader {
  readonly client: RawClient;
  readonly #total: number;
  #written = 0;

  constructor(client: RawClient, total: number) {
    this.client = client;
    this.#total = total;
  }

  start(fields: readonly string[], id: string): void {
    this.client.head(`POST /bytes/${id}`, fields);
    const piece = Buffer.alloc(megabyte);
    const write = () => {
      while (this.#written < this.#total) {
        this.#written += piece.length;
        if (!this.client.socket.write(piece)) return void this.client.socket.once("drain", write);
      }
    };
    write();
  }

  get taken(): number {
    return this.#written - this.client.socket.writableLength;
  }
}

async function upload(host: ByteHostProcess, id: string, bytes: number): Promise<unknown> {
  const uploader = new Uploader(await RawClient.connect(host.port), bytes);
  uploader.start([`Content-Length: ${bytes}`], id);
  const { status, body } = await uploader.client.answer(transferLimitMs);
  uploader.client.close();
  if (status !== 200) throw new Error(`answered ${status}: ${body}`);
  return JSON.parse(body);
}

/** The count, once it has stayed the same for a while: then nothing moves any more. */
async function standstill(what: string, count: () => number | Promise<number>): Promise<number> {
  let last = -1;
  let same = 0;
  return until(
    `${what} comes to a standstill`,
    async () => {
      const now = await count();
      same = now === last ? same + 1 : 0;
      last = now;
      return same >= 30 && now > 0 ? now : undefined;
    },
    20_000,
  );
}

interface Growth {
  readonly what: string;
  readonly bytes: number;
}

async function growthDuring(
  hosts: Record<string, ByteHostProcess>,
  work: () => Promise<void>,
): Promise<Growth[]> {
  const before = new Map<string, number>();
  for (const [name, host] of Object.entries(hosts))
    before.set(name, (await host.ask({ ask: "hold" })).rssBytes);
  await work();
  return Promise.all(
    Object.entries(hosts).map(async ([what, host]) => {
      const { peakRssBytes } = await host.ask({ ask: "count" });
      return { what, bytes: peakRssBytes - (before.get(what) ?? 0) };
    }),
  );
}

function expectBounded(growths: readonly Growth[]): void {
  const shown = growths.map(({ what, bytes }) => `${what} ${Math.round(bytes / megabyte)} MiB`).join(", ");
  if (process.env.STATEFUL_TEST_BODY_MB !== undefined)
    console.log(`${bodyMegabytes} MiB: growth of ${shown}`);
  for (const { bytes } of growths) expect(bytes).toBeLessThan(growthBytesMax);
}

test("E4 a large upload waits at the client while the handler does not read, and then arrives whole", async () => {
  for (const [edge, fields] of [
    [iad, [`Content-Length: ${bodyBytes}`]],
    [ams, [`Content-Length: ${bodyBytes}`]],
  ] as const) {
    const growths = await growthDuring({ edge: iad, owner: ams }, async () => {
      const uploader = new Uploader(await RawClient.connect(edge.port), bodyBytes);
      uploader.start(fields, "up");
      const taken = await standstill("the upload", () => uploader.taken);
      expect(taken).toBeLessThan(underWayBytesMax);
      expect((await ams.ask({ ask: "release" })).bytesRead).toBe(0);
      const { status, body } = await uploader.client.answer(transferLimitMs);
      uploader.client.close();
      expect([status, JSON.parse(body)]).toEqual([200, { bytesRead: bodyBytes, host: "ams-bytes" }]);
    });
    expectBounded(growths);
  }
}, 120_000);

test("E2 E4 a large upload whose first host turns out to be stale is sent once, to the owner", async () => {
  await iad.ask({ ask: "mislead", key: "bytes/stale", region: "nrt" });
  const growths = await growthDuring({ edge: iad, owner: ams, stale: nrt }, async () => {
    await ams.ask({ ask: "release" });
    await nrt.ask({ ask: "release" });
    expect(await upload(iad, "stale", bodyBytes)).toEqual({ bytesRead: bodyBytes, host: "ams-bytes" });
  });
  const [read, stale] = [await ams.ask({ ask: "count" }), await nrt.ask({ ask: "count" })];
  expect([read.bytesRead, stale.bytesRead]).toEqual([bodyBytes, 0]);
  expectBounded(growths);
  // A second copy of the body would have grown the stale host by far more than an offer does.
  expect(growths[2]?.bytes).toBeLessThan(8 * megabyte);
}, 60_000);

test("E4 a large download waits at the handler while the client does not read, and then arrives whole", async () => {
  for (const edge of [iad, ams]) {
    const growths = await growthDuring({ edge: iad, owner: ams }, async () => {
      const client = await RawClient.connect(edge.port);
      client.socket.pause();
      client.socket.removeAllListeners("data");
      let received = 0;
      client.head(`GET /bytes/down/${bodyBytes / (64 * 1024)}`, ["Connection: close"]);
      const made = await standstill("the download", async () => (await ams.ask({ ask: "count" })).bytesMade);
      expect(made).toBeLessThan(underWayBytesMax);
      client.socket.on("data", (bytes: Buffer) => {
        received += bytes.length;
      });
      client.socket.resume();
      await until("the download ends", () => received >= bodyBytes, transferLimitMs);
      expect((await ams.ask({ ask: "count" })).bytesMade).toBe(bodyBytes);
      client.close();
    });
    expectBounded(growths);
  }
}, 120_000);

test("a client that gives up a large upload leaves nothing open", async () => {
  await Promise.all([iad, ams].map((host) => host.ask({ ask: "hold" })));
  const uploader = new Uploader(await RawClient.connect(iad.port), bodyBytes);
  uploader.start([`Content-Length: ${bodyBytes}`], "given-up");
  await standstill("the upload", () => uploader.taken);
  uploader.client.close();
  await ams.ask({ ask: "release" });
  // The same object, through the same link, goes on.
  expect(await upload(iad, "given-up", megabyte)).toMatchObject({ host: "ams-bytes" });
}, 30_000);
