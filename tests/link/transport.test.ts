import { describe, expect, test } from "bun:test";
import { systemClock } from "../../infra/lib/clock.ts";
import { problem, StatefulError } from "../../infra/lib/errors.ts";
import { delayedTransport } from "../../infra/link/delayed-transport.ts";
import { transportMessageBytesMax } from "../../infra/link/frame.ts";
import { memoryTransportPair } from "../../infra/link/memory-transport.ts";
import type { Transport } from "../../infra/link/transport.ts";
import {
  dialWebSocket,
  ServerSocketTransport,
  socketBufferBytesMax,
} from "../../infra/link/websocket-transport.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { until } from "../support/wait.ts";

interface Ends {
  readonly left: Transport;
  readonly right: Transport;
  stop(): Promise<void>;
}

const nothing = async () => undefined;

/** Over a real socket; the dialled end on the left. */
async function webSockets(): Promise<Ends> {
  const opened = Promise.withResolvers<ServerSocketTransport>();
  const limits = { maxPayloadLength: transportMessageBytesMax, backpressureLimit: socketBufferBytesMax };
  const server = Bun.serve<{ transport?: ServerSocketTransport }>({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, bun) =>
      bun.upgrade(request, { data: {} }) ? undefined : new Response("no", { status: 400 }),
    websocket: {
      ...{ ...limits, closeOnBackpressureLimit: true, perMessageDeflate: false },
      open(ws) {
        ws.data.transport = new ServerSocketTransport(ws);
        opened.resolve(ws.data.transport);
      },
      message: (ws, message) => ws.data.transport?.received(message),
      drain: (ws) => ws.data.transport?.drained(),
      close: (ws, code, reason) => ws.data.transport?.closed(code, reason),
    },
  });
  const left = await dialWebSocket(
    `http://127.0.0.1:${server.port}`,
    () => ({}),
    new AbortController().signal,
  );
  return { left, right: await opened.promise, stop: () => server.stop(true) };
}

const implementations: Record<string, () => Promise<Ends>> = {
  memory: async () => ({ ...memoryTransportPair(systemClock), stop: nothing }),
  "memory, other way round": async () => {
    const { left, right } = memoryTransportPair(systemClock);
    return { left: right, right: left, stop: nothing };
  },
  WebSocket: webSockets,
  "WebSocket, other way round": async () => {
    const { left, right, stop } = await webSockets();
    return { left: right, right: left, stop };
  },
  "delayed memory": async () => {
    const { left, right } = memoryTransportPair(systemClock);
    const late = (inner: Transport) => delayedTransport(inner, systemClock, () => 5);
    return { left: late(left), right: late(right), stop: nothing };
  },
  "delayed WebSocket": async () => {
    const { left, right, stop } = await webSockets();
    return { left: delayedTransport(left, systemClock, () => 5), right, stop };
  },
};

function listen(transport: Transport) {
  const messages: Uint8Array[] = [];
  const closings: string[] = [];
  transport.start({
    message: (message) => messages.push(message),
    closed: (reason) => closings.push(reason),
  });
  return { messages, closings };
}

describe.each(Object.keys(implementations))("transport: %s", (name) => {
  const connect = async (): Promise<Ends> => {
    const ends = await implementations[name]?.();
    if (ends === undefined) throw new Error(`no transport ${name}`);
    return ends;
  };

  test("K1: messages arrive whole and in order, and the sender's bytes are free at once", async () => {
    const { left, right, stop } = await connect();
    const seen = listen(right);
    listen(left);
    const reused = new Uint8Array(1_000);
    for (let n = 0; n < 200; n += 1) expect(left.send(reused.subarray(0, 1 + n).fill(n))).toBe(true);
    await until("200 messages arrived", () => seen.messages.length === 200);
    expect(seen.messages.map((each) => [each.length, each[0], each.at(-1)])).toEqual(
      Array.from({ length: 200 }, (_, n) => [1 + n, n, n]),
    );
    await stop();
  });

  test("K5: a windowful sent in one go arrives, and so does a close behind it", async () => {
    const { left, right, stop } = await connect();
    listen(left);
    const seen = listen(right);
    const message = new Uint8Array(transportMessageBytesMax).fill(7);
    for (let n = 0; n < 40; n += 1) expect(left.send(message)).toBe(true);
    left.close();
    await until("it closed at the other end", () => seen.closings.length === 1);
    expect(seen.messages.map((each) => each.length)).toEqual(new Array(40).fill(transportMessageBytesMax));
    await stop();
  });

  test("what arrives before the start is kept for it", async () => {
    const { left, right, stop } = await connect();
    const there = listen(right);
    for (let n = 0; n < 10; n += 1) right.send(Uint8Array.of(n));
    // What the left end sends makes its way back meanwhile: by then the ten have arrived at it.
    for (let n = 0; n < 5; n += 1) {
      left.send(Uint8Array.of(n));
      await until("the other end heard", () => there.messages.length > n);
    }
    const seen = listen(left);
    await until("10 messages arrived", () => seen.messages.length === 10);
    expect(seen.messages.map(([first]) => first)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await stop();
  });

  test("close comes after what was sent; both ends hear it once, later; nothing can be sent then", async () => {
    const { left, right, stop } = await connect();
    const here = listen(left);
    const there = listen(right);
    left.send(Uint8Array.of(1));
    left.close();
    expect(here.closings).toEqual([]);
    await until("both ends heard", () => here.closings.length > 0 && there.closings.length > 0);
    expect(there.messages).toHaveLength(1);
    expect(left.send(Uint8Array.of(2)) || right.send(Uint8Array.of(2))).toBe(false);
    left.close();
    right.close();
    left.abort();
    expect([here.closings.length, there.closings.length]).toEqual([1, 1]);
    await stop();
  });

  test("abort ends it at both ends, and never from inside the call", async () => {
    const { left, right, stop } = await connect();
    const here = listen(left);
    const there = listen(right);
    left.abort();
    expect(here.closings).toEqual([]);
    await until("both ends heard", () => here.closings.length > 0 && there.closings.length > 0);
    await stop();
  });
});

describe("distance", () => {
  test("a delayed transport keeps order while its delay shrinks", async () => {
    const clock = new VirtualClock();
    const { left, right } = memoryTransportPair(clock);
    const delays = [100, 50, 10, 0];
    const late = delayedTransport(left, clock, () => delays.shift() ?? 0);
    const seen = listen(right);
    for (let n = 0; n < 4; n += 1) late.send(Uint8Array.of(n));
    await clock.advance(99);
    expect(seen.messages).toEqual([]);
    await clock.advance(2);
    expect(seen.messages.map(([first]) => first)).toEqual([0, 1, 2, 3]);
  });

  test("a dial of nobody, of no WebSocket, and one given up are told apart", async () => {
    const server = Bun.serve({ port: 0, fetch: () => new Response("hello", { status: 404 }) });
    const dial = (url: string, signal = new AbortController().signal) =>
      dialWebSocket(url, () => ({}), signal).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await dial(`http://127.0.0.1:${server.port}`)).toMatchObject({ code: "owner_unreachable" });
    expect(await dial("http://127.0.0.1:1")).toMatchObject({ code: "owner_unreachable" });
    const given = await dial(`http://127.0.0.1:${server.port}`, AbortSignal.abort());
    expect(String(given)).toContain("the dial was given up");
    await server.stop(true);
  });

  test("K10 a dial is not led to another address by whoever stands at the one that is known", async () => {
    const asked: string[] = [];
    const elsewhere = Bun.serve({
      port: 0,
      fetch(request) {
        asked.push(request.headers.get("authorization") ?? "");
        return problem(new StatefulError("not_owner", "somebody else"));
      },
    });
    const server = Bun.serve({ port: 0, fetch: () => Response.redirect(elsewhere.url.href, 307) });
    const headers = () => ({ authorization: "StatefulLink signed" });
    const failure: unknown = await dialWebSocket(server.url.href, headers, new AbortController().signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "owner_unreachable" });
    expect(asked).toEqual([]);
    await Promise.all([server.stop(true), elsewhere.stop(true)]);
  });
});
