import type { Server } from "bun";
import type { HostConnection, ScriptedHost } from "./scripted-host.ts";

type Data = { connection: HostConnection | undefined };

/** A scripted host behind a real port; requests that are no WebSocket are answered by `answer`. */
export class ServedHost {
  readonly #host: ScriptedHost;
  readonly #server: Server<Data>;

  constructor(host: ScriptedHost, answer?: (request: Request) => Response | Promise<Response>) {
    this.#host = host;
    this.#server = Bun.serve<Data>({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request, server) {
        if (server.upgrade(request, { data: { connection: undefined } })) return undefined;
        return (await answer?.(request)) ?? new Response("not found", { status: 404 });
      },
      websocket: {
        open(socket) {
          socket.data.connection = host.connect({
            send: (text) => void socket.send(text),
            close: (code, reason) => (code === 1006 ? socket.terminate() : socket.close(code, reason)),
          });
        },
        message(socket, text) {
          socket.data.connection?.receive(String(text));
        },
        close({ data: { connection } }) {
          if (connection) host.connections.delete(connection);
        },
      },
    });
  }

  get url(): string {
    return this.#server.url.origin;
  }

  async stop(): Promise<void> {
    this.#host.drop(1001);
    await this.#server.stop(true);
  }
}
