import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import type { HostProcess } from "../support/host-process.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { adminToken } from "../support/admin-token.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { handshakeFor } from "../support/websocket-frames.ts";
import type { FuzzFailure } from "./fuzz-decoder.ts";
import { httpBytes } from "./http-bytes.ts";
import { socketPaths, websocketBytes } from "./websocket-bytes.ts";

/** Bytes for one connection to a host, and how it begins. */
export interface HostTarget {
  readonly name: string;
  /** Sent first, and answered before the rest is: the handshake of a WebSocket. */
  handshake(random: SeededRandom): string | undefined;
  bytes(random: SeededRandom, handshake: string | undefined): Uint8Array;
}

export const hostTargets: readonly HostTarget[] = [
  { name: "E1 E10 E13 HTTP over TCP", handshake: () => undefined, bytes: httpBytes },
  {
    name: "E6 E30 frames of WebSockets",
    handshake: (random) => handshakeFor(random.pick(socketPaths)),
    bytes: (random, handshake = "") => websocketBytes(random, handshake.split(" ", 2)[1] ?? ""),
  },
];

export interface HostFuzzResult {
  readonly target: string;
  readonly inputs: number;
  /** By what became of the connection: an answer, an end, or neither within `silenceMs`. */
  readonly answered: number;
  readonly cutOff: number;
  readonly silent: number;
  /** Resident memory of the host, in MiB. */
  readonly memoryMiB: { readonly before: number; readonly after: number };
  /** The longest that a well-behaved client waited meanwhile. */
  readonly slowestProbeMs: number;
  readonly failures: readonly FuzzFailure[];
}

/** A connection on which nothing comes for so long is given up: half a request is answered by nobody. */
const silenceMs = 60;
/** After an answer, for what else may come: a second answer, or the end. */
const afterAnswerMs = 4;
const side = 8;
const probeEvery = 64;
/** A client that behaves is not let wait longer, whatever the others do. */
const probeLimitMs = 10_000;
const failuresMax = 5;
/** What an answer must not show. */
const inside = /\bat [^\s]+ \(|\/(?:infra|apps|node_modules)\/|\.ts:\d|SQLITE|hrana/;
/** What a host logs of its own faults. An author's handler may fail. */
const faults = new Set([
  "request.failed",
  "frame.failed",
  "admin.failed",
  "error.uncaught",
  "error.unhandled",
  "link.handler_failed",
]);

/** Sends to a host what no well-behaved client does, several connections at a time, beside one that behaves and must notice nothing. */
export async function fuzzHost(
  host: HostProcess,
  target: HostTarget,
  random: SeededRandom,
  isOver: (inputs: number) => boolean,
): Promise<HostFuzzResult> {
  const counts = { answered: 0, cutOff: 0, silent: 0 };
  const failures: FuzzFailure[] = [];
  const before = await memoryMiB(host);
  const neighbour = await Neighbour.connect(host);
  let [inputs, slowestProbeMs] = [0, 0];
  const recent: Uint8Array[] = [];
  while (!isOver(inputs) && failures.length < failuresMax) {
    const round = Array.from({ length: side }, () => {
      const own = random.fork();
      const handshake = target.handshake(own);
      return { handshake, bytes: target.bytes(own, handshake), random: own };
    });
    for (const { handshake = "", bytes } of round)
      recent.push(Buffer.concat([Buffer.from(handshake), bytes]));
    recent.splice(0, recent.length - 2 * probeEvery);
    for (const { outcome, received } of await Promise.all(round.map((each) => exchange(host.port, each)))) {
      counts[outcome] += 1;
      const shown = inside.exec(received)?.[0];
      if (shown !== undefined)
        failures.push({ what: `An answer shows "${shown}".`, input: received.slice(0, 2000) });
    }
    inputs += side;
    if (inputs % probeEvery !== 0) continue;
    const probed = await neighbour.probe();
    slowestProbeMs = Math.max(slowestProbeMs, probed.tookMs);
    if (probed.failure !== undefined) {
      failures.push({
        what: probed.failure,
        input: recent.map((each) => Buffer.from(each).toString("base64")).join("\n"),
      });
      break;
    }
  }
  neighbour.close();
  failures.push(...faultsOf(host), ...(await leftBehind(host)));
  const memory = { before, after: await memoryMiB(host) };
  return {
    target: target.name,
    inputs,
    ...counts,
    memoryMiB: memory,
    slowestProbeMs,
    failures: failures.slice(0, failuresMax),
  };
}

interface Exchange {
  readonly handshake: string | undefined;
  readonly bytes: Uint8Array;
  readonly random: SeededRandom;
}

/** One connection: what is sent comes in pieces, and what becomes of it is seen soon. */
async function exchange(port: number, { handshake, bytes, random }: Exchange) {
  const socket = connect(port, "127.0.0.1");
  const heard = new Heard(socket);
  if (handshake !== undefined) {
    socket.write(handshake);
    await heard.quiet(silenceMs, 0);
  }
  const before = heard.bytes;
  const cut = random.isLucky(0.5) ? bytes.length : random.between(0, bytes.length);
  socket.write(bytes.subarray(0, cut));
  if (cut < bytes.length) {
    await Bun.sleep(1);
    socket.write(bytes.subarray(cut));
  }
  if (random.isLucky(0.1)) socket.end();
  await heard.quiet(silenceMs, before);
  const outcome = heard.bytes > before ? "answered" : heard.isClosed ? "cutOff" : "silent";
  socket.destroy();
  return { outcome, received: heard.text } as const;
}

class Heard {
  bytes = 0;
  text = "";
  isClosed = false;
  #changed = Promise.withResolvers<void>();

  constructor(socket: Socket) {
    const changed = () => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    };
    socket.on("data", (data) => {
      this.bytes += data.length;
      if (this.text.length < 20_000) this.text += data.toString("latin1");
      changed();
    });
    socket.on("error", () => socket.destroy()); // A reset is an end.
    socket.on("close", () => {
      this.isClosed = true;
      changed();
    });
  }

  /** Until it is closed, or has said something beyond `bytes` and then nothing for a moment, or nothing for `limitMs`. */
  async quiet(limitMs: number, bytes: number): Promise<void> {
    while (!this.isClosed) {
      const waitMs = this.bytes > bytes ? afterAnswerMs : limitMs;
      const isQuiet = await Promise.race([
        Bun.sleep(waitMs).then(() => true),
        this.#changed.promise.then(() => false),
      ]);
      if (isQuiet) return;
    }
  }
}

/** A client that behaves, on an object of its own. */
class Neighbour {
  readonly #host: HostProcess;
  readonly #socket: SocketClient;
  #said = 0;

  private constructor(host: HostProcess, socket: SocketClient) {
    this.#host = host;
    this.#socket = socket;
  }

  static async connect(host: HostProcess): Promise<Neighbour> {
    return new Neighbour(host, await SocketClient.open(host.socketUrl("/probe/neighbour/live")));
  }

  /** Says and asks something; what is wrong where that does not go as it should. */
  async probe(): Promise<{ readonly tookMs: number; readonly failure: string | undefined }> {
    const beganMs = performance.now();
    const failure = await this.#probe().catch((error: unknown) => `A neighbour is not served: ${error}`);
    return { tookMs: performance.now() - beganMs, failure };
  }

  async #probe(): Promise<string | undefined> {
    const text = `hello ${++this.#said}`;
    this.#socket.send(text);
    await until(
      "the neighbour is answered",
      () => this.#socket.closing ?? this.#socket.heard.at(-1) === text,
      probeLimitMs,
    );
    if (this.#socket.closing) return `A neighbour's socket was closed: ${this.#socket.closing.join(" ")}`;
    this.#socket.heard.splice(0);
    const signal = AbortSignal.timeout(probeLimitMs);
    const answer = await fetch(this.#host.url("/probe/neighbour"), { signal });
    const { id, polluted } = await answer.json();
    return id === "neighbour" && polluted === undefined
      ? undefined
      : `A neighbour got another's answer: ${id} ${polluted}`;
  }

  close(): void {
    this.#socket.close();
  }
}

/** Clients that are gone must be gone at the host as well. */
async function leftBehind(host: HostProcess): Promise<FuzzFailure[]> {
  const headers = { authorization: `Bearer ${adminToken}` };
  let text = "";
  const isEmpty = async () => {
    text = await (await fetch(host.url("/-/metrics"), { headers })).text();
    return /^stateful_sockets 0$/m.test(text);
  };
  const what = "The host holds sockets of clients that are gone.";
  return until(what, isEmpty, probeLimitMs).then(
    () => [],
    () => [{ what, input: text }],
  );
}

function faultsOf(host: HostProcess): FuzzFailure[] {
  const logged = host.entries.filter(({ event }) => faults.has(event));
  return logged.map((entry) => ({
    what: `The host logged ${entry.event}.`,
    input: JSON.stringify(entry).slice(0, 4000),
  }));
}

async function memoryMiB(host: HostProcess): Promise<number> {
  const status = await readFile(`/proc/${host.pid}/status`, "utf8").catch(() => ""); // not on every system
  return Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
}
