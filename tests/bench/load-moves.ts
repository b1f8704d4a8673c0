import { converse, setupOf } from "./conversation.ts";
import type { TravelAnswer } from "./servers/classes.ts";
import { sharedNowMs } from "./shared-clock.ts";

/** One object, moved back and forth between the first two of three hosts, and what goes on at it meanwhile. */
export interface MoveLoad {
  readonly hosts: readonly { readonly hostId: string; readonly port: number }[];
  readonly adminToken: string;
  /** `/traveller/a`. */
  readonly object: string;
  /**
   * 0: HTTP requests at the source, one after the other from when the move is asked for, each on its way at once. More:
   * sockets, spread over the three hosts, each of which says something again a little after it was answered.
   */
  readonly sockets: number;
  /** From one move to the next, so that nothing of the last is left. */
  readonly restMs: number;
}

export interface MovesQuestion {
  readonly moves: number;
}

/** One value for each move. */
export interface MovesAnswer {
  /** From the shutting of the gate to the beginning of the first event at the target, by the object's own account. */
  readonly pausesMs: readonly number[];
  /** The longest that anybody waited for an answer: their way to the object and back, and where it was in between. */
  readonly waitsMs: readonly number[];
}

const requestEveryMs = 5;
const socketPauseMs = 50;
const { hosts, adminToken, object, sockets, restMs } = setupOf<MoveLoad>();
type Host = (typeof hosts)[number];

/** The move that is under way, as those who ask see it. */
class Watch {
  readonly arrived = Promise.withResolvers<TravelAnswer>();
  waitMs = 0;
  readonly #to: string;
  readonly #sinceMs = sharedNowMs();

  constructor(to: string) {
    this.#to = to;
  }

  answered(answer: TravelAnswer, waitMs: number): void {
    this.waitMs = Math.max(this.waitMs, waitMs);
    if (answer.owner === this.#to && answer.leftAtMs >= this.#sinceMs) this.arrived.resolve(answer);
  }
}

let watch: Watch | undefined;
let moved = 0;

async function moveOnce(): Promise<{ readonly pauseMs: number; readonly waitMs: number }> {
  const [from, to] = moved++ % 2 === 0 ? [hostAt(0), hostAt(1)] : [hostAt(1), hostAt(0)];
  const current = new Watch(to.hostId);
  watch = current;
  const requests = sockets === 0 ? askAgainAndAgain(from, current) : Promise.resolve();
  await askToMove(from, to);
  const { leftAtMs, firstEventAtMs } = await current.arrived.promise;
  await requests;
  await Bun.sleep(restMs);
  return { pauseMs: firstEventAtMs - leftAtMs, waitMs: current.waitMs };
}

async function askToMove(from: Host, to: Host): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${from.port}/-/objects${object}/move`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ host: to.hostId }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`Move ${moved} failed: ${text}`);
}

/** Until one of them was served at the target, and all have been answered. */
async function askAgainAndAgain(host: Host, current: Watch): Promise<void> {
  const asked: Promise<void>[] = [];
  let isOver = false;
  void current.arrived.promise.then(() => {
    isOver = true;
  });
  while (!isOver) {
    asked.push(ask(host, current));
    await Bun.sleep(requestEveryMs);
  }
  await Promise.all(asked);
}

async function ask(host: Host, current?: Watch): Promise<void> {
  const sentMs = performance.now();
  const response = await fetch(`http://127.0.0.1:${host.port}${object}`);
  if (!response.ok) throw new Error(`A request failed: ${await response.text()}`);
  const answer = (await response.json()) as TravelAnswer; // as the class answers
  current?.answered(answer, performance.now() - sentMs);
}

async function talk(host: Host): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${host.port}${object}/live`);
  const opened = Promise.withResolvers<void>();
  let sentMs = 0;
  const say = () => {
    sentMs = performance.now();
    socket.send("");
  };
  socket.onopen = () => opened.resolve();
  socket.onclose = ({ code }) => {
    console.error(`load-moves: A socket was closed with ${code}.`);
    process.exit(1);
  };
  socket.onmessage = ({ data }) => {
    watch?.answered(JSON.parse(String(data)), performance.now() - sentMs);
    setTimeout(say, socketPauseMs);
  };
  await opened.promise;
  say();
}

function hostAt(index: number): Host {
  const host = hosts[index % hosts.length];
  if (host === undefined) throw new Error("There are no hosts.");
  return host;
}

await ask(hostAt(0));
for (let index = 0; index < sockets; index++) await talk(hostAt(index));

converse<MovesQuestion>({ sockets }, async ({ moves }): Promise<MovesAnswer> => {
  const seen: Awaited<ReturnType<typeof moveOnce>>[] = [];
  while (seen.length < moves) seen.push(await moveOnce());
  return { pausesMs: seen.map(({ pauseMs }) => pauseMs), waitsMs: seen.map(({ waitMs }) => waitMs) };
});
