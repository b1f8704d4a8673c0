import { isErrorCode, StatefulError } from "../../../infra/lib/errors.ts";
import { Inbox } from "../../../infra/link/inbox.ts";
import type { Transport, TransportHandlers } from "../../../infra/link/transport.ts";
import type { Dial } from "../../../infra/link/websocket-transport.ts";
import { Connection, type ConnectionEnd, type Place } from "./connection.ts";
import type { World } from "./world.ts";

/** How a host opens links on the simulated network. */
export function dialler(world: World, from: Place): Dial {
  return (url, headers, signal) =>
    new Promise((resolve, reject) => {
      const fail = (why: string) =>
        reject(new StatefulError("owner_unreachable", `${url} cannot be reached: ${why}.`));
      if (signal.aborted) return fail("the dial was given up");
      signal.addEventListener("abort", () => fail("the dial was given up"), { once: true });
      const request = new Request(url, {
        headers: { ...headers(), upgrade: "websocket", connection: "Upgrade" },
      });
      world.connect(from, new URL(url).hostname, request, {
        opened: (end) => {
          if (signal.aborted) end.close(1006, "");
          else resolve(new DialledTransport(end));
        },
        answered: (status, body) =>
          reject(refusal(body) ?? new StatefulError("owner_unreachable", `HTTP ${status}`)),
        failed: () => fail("the socket closed with 1006"),
      });
    });
}

export interface Outcome {
  opened(end: ConnectionEnd): void;
  answered(status: number, body: string): void;
  failed(): void;
}

function refusal(body: string): StatefulError | undefined {
  try {
    const { code, detail } = JSON.parse(body) as { code?: unknown; detail?: unknown }; // looked at below
    return isErrorCode(code) && typeof detail === "string" ? new StatefulError(code, detail) : undefined;
  } catch {
    return undefined; // not a problem document
  }
}

/** The dialled end of a link. */
class DialledTransport implements Transport {
  readonly #end: ConnectionEnd;
  readonly #inbox = new Inbox(() => this.abort());

  constructor(end: ConnectionEnd) {
    this.#end = end;
    end.listen({
      message: (message) => this.#inbox.message(message),
      closed: (code, reason) => this.#inbox.closed(`the socket closed with ${code} ${reason}`),
    });
  }

  start(handlers: TransportHandlers): void {
    this.#inbox.start(handlers);
  }
  send(message: Uint8Array): boolean {
    this.#end.send(message);
    return this.#end.isOpen;
  }
  close(): void {
    this.#end.close(1000, "");
  }
  abort(): void {
    this.#end.close(1006, "");
  }
}

/**
 * Carries one request from one place to a host: to its answer, to a socket, or to nothing. Both directions are those of one
 * connection, so that what its host says after it has accepted does not come before that.
 */
export function carry(world: World, from: Place, hostName: string, request: Request, outcome: Outcome): void {
  const { scheduler, network } = world;
  const host = world.hosts.get(hostName);
  const to = host?.place;
  if (host === undefined || host.isOff) return; // a machine that is not there answers nothing
  if (to === undefined) {
    const roundTripMs = network.latencyMs(from.name, hostName) + network.latencyMs(hostName, from.name);
    scheduler.after(roundTripMs, from.process, () => outcome.failed());
    return;
  }
  const connection = new Connection(scheduler, network, from, to);
  const { left, right } = connection;
  let isSettled = false;
  const settle = (run: () => void) => {
    if (isSettled) return;
    isSettled = true;
    run();
  };
  left.handlers = { message: () => undefined, closed: () => settle(() => outcome.failed()) };
  left.tell(() => {
    const { server } = host;
    if (server === undefined || server.isStopped) return right.close(1006, "");
    void server.serve(request).then(async (served) => {
      if (served.kind === "upgraded") {
        world.connections.add(connection);
        right.tell(() => settle(() => outcome.opened(left)));
        return served.connect(right);
      }
      const { status } = served.response;
      const body = await served.response.text();
      right.tell(() =>
        settle(() => {
          left.close(1000, "");
          outcome.answered(status, body);
        }),
      );
    });
  });
}
