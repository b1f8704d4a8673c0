import { join } from "node:path";
import { HostProcess } from "../../support/host-process.ts";
import { Sqld } from "../../support/sqld.ts";
import { until } from "../../support/wait.ts";
import { costFigure, type Figure, type Measure } from "../figure.ts";

const leaseTtlMs = 1000;
/** Ten in the five rounds of a usual run. */
const killsPerRound = 2;
const askEveryMs = 10;
const answerLimitMs = 20_000;
const knownLimitMs = 20_000;
/** Between hosts that know each other and the kill, so that it falls anywhere in the lease, not only after a renewal. */
const restMaxMs = 500;
const supervisor = [process.execPath, join(import.meta.dir, "../../../apps/server/supervisor.ts")];

interface Lost {
  /** From the kill to the first answer of the next owner, in milliseconds. */
  readonly request: number;
  readonly message: number;
}

/**
 * A host is killed like `kill -9`, and clients of another edge go on asking for two objects that it owned: one by HTTP, one
 * on a socket that stays open. Real hosts, as they are deployed, alone and under the supervisor.
 */
export const ownerLost: Measure = {
  name: "owner-lost",
  async run({ rounds }) {
    const kills = killsPerRound * rounds;
    return [
      ...figuresOf("", await killed(kills, false)),
      ...figuresOf(", supervised", await killed(kills, true)),
    ];
  },
};

async function killed(kills: number, isSupervised: boolean): Promise<Lost[]> {
  const sqld = await Sqld.start();
  const hosts = ["a", "b", "c"].map((region) => hostOf(region, sqld.httpUrl, isSupervised && region === "a"));
  const [victim, edge] = hosts;
  const lost: Lost[] = [];
  try {
    if (victim === undefined || edge === undefined) throw new Error("There are no hosts.");
    await Promise.all(hosts.map((host) => host.run()));
    for (let count = 0; count < kills; count++) {
      await allKnowAll(hosts);
      await Bun.sleep(Math.random() * restMaxMs);
      lost.push(await kill(victim, edge, count));
      await victim.kill();
      await victim.run();
    }
  } finally {
    endChild(victim);
    await Promise.all(hosts.map((host) => host.kill()));
    await sqld.stop();
  }
  return lost;
}

function hostOf(region: string, directoryUrl: string, isSupervised: boolean): HostProcess {
  const setup = { region, directoryUrl, leaseTtlMs, objectsFolder: "tests/bench/objects" };
  return new HostProcess({ ...setup, ...(isSupervised && { runner: supervisor }) });
}

async function kill(victim: HostProcess, edge: HostProcess, count: number): Promise<Lost> {
  const [asked, heard] = [`/beacon/asked-${count}`, `/beacon/heard-${count}`];
  for (const object of [asked, heard])
    if ((await ownerAt(victim, object)) !== victim.id)
      throw new Error("The object is not where it was asked for.");
  await ownerAt(edge, asked);
  const socket = await openSocket(edge, `${heard}/live`);
  const killedAtMs = performance.now();
  process.kill(childOf(victim), "SIGKILL");
  const since = (first: Promise<unknown>) => first.then(() => performance.now() - killedAtMs);
  try {
    const [request, message] = await Promise.all([
      since(firstAnswer(edge, asked, victim.id)),
      since(firstMessage(socket, victim.id)),
    ]);
    return { request, message };
  } finally {
    socket.close();
  }
}

/** The process that runs the host: itself, or the supervisor's child. */
function childOf(host: HostProcess): number {
  const started = host.entries.findLast(({ event }) => event === "supervisor.child_started");
  return host.options.runner === undefined ? host.pid : Number(started?.pid);
}

/** A supervisor that is killed leaves its child to drain in its own time. */
function endChild(host: HostProcess | undefined): void {
  if (host?.options.runner === undefined || !host.isReady) return;
  try {
    process.kill(childOf(host), "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Undefined where there is no answer, or not a good one. */
async function ownerAt(host: HostProcess, object: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(answerLimitMs);
  const response = await fetch(host.url(object), { signal }).catch(() => undefined);
  const text = await response?.text().catch(() => undefined);
  return response?.ok === true ? text : undefined;
}

/** Asks again and again, whatever becomes of the questions before, and resolves at the first answer of another owner. */
function firstAnswer(edge: HostProcess, object: string, except: string): Promise<void> {
  return askUntil(`${object} is answered`, (answered) => {
    void ownerAt(edge, object).then((owner) => {
      if (owner !== undefined && owner !== except) answered();
    });
  });
}

function firstMessage(socket: WebSocket, except: string): Promise<void> {
  return askUntil("the socket is answered", (answered) => {
    socket.onmessage = ({ data }) => {
      if (data !== except) answered();
    };
    socket.send("");
  });
}

async function askUntil(what: string, ask: (answered: () => void) => void): Promise<void> {
  const first = Promise.withResolvers<void>();
  const limit = setTimeout(() => first.reject(new Error(`Too late: ${what}.`)), answerLimitMs);
  const asking = setInterval(() => ask(first.resolve), askEveryMs);
  try {
    await first.promise;
  } finally {
    clearTimeout(limit);
    clearInterval(asking);
  }
}

async function openSocket(edge: HostProcess, path: string): Promise<WebSocket> {
  const socket = new WebSocket(edge.socketUrl(path));
  const answered = Promise.withResolvers<void>();
  socket.onopen = () => socket.send("");
  socket.onmessage = () => answered.resolve();
  socket.onclose = ({ code }) => answered.reject(new Error(`The socket was closed with ${code}.`));
  await answered.promise;
  return socket;
}

async function allKnowAll(hosts: readonly HostProcess[]): Promise<void> {
  const isKnown = async (host: HostProcess) => {
    const health = (await (await fetch(host.url("/-/health"))).json()) as { hosts: number }; // of infra/edge/system-routes.ts
    return health.hosts === hosts.length;
  };
  const all = async () => (await Promise.all(hosts.map(isKnown))).every(Boolean);
  await until("all hosts know each other", all, knownLimitMs);
}

function figuresOf(how: string, lost: readonly Lost[]): Figure[] {
  const figure = (what: string, valuesMs: readonly number[]) =>
    costFigure(
      { measure: `owner killed${how}: ${what}`, unit: "ms", against: "the lease time" },
      valuesMs.map((ours) => ({ ours, reference: leaseTtlMs })),
    );
  return (["request", "message"] as const).flatMap((kind) => {
    const all = lost.map((one) => one[kind]);
    return [figure(`first ${kind}`, all), figure(`first ${kind}, the latest`, [Math.max(...all)])];
  });
}
