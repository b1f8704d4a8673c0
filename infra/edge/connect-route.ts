import { StatefulError } from "../lib/errors.ts";
import { FramedConnection, type FramedConnectionSetup } from "./framed-connection.ts";
import { wantsWebSocket } from "./http-fields.ts";
import { pathAndQuery } from "./object-target.ts";
import { hostFull } from "./wanted-upgrade.ts";

export const connectPath = "/-/connect";

export interface ConnectRouteSetup extends FramedConnectionSetup {
  readonly isDraining: () => boolean;
}

/** Lets clients in at `/-/connect`. */
export class ConnectRoute {
  readonly #setup: ConnectRouteSetup;

  constructor(setup: ConnectRouteSetup) {
    this.#setup = setup;
  }

  isFor(target: string): boolean {
    return target === connectPath || target.startsWith(`${connectPath}?`);
  }

  /**
   * The connection that the request is about to become. It must be `connected` or `disconnected` in the end.
   *
   * @throws StatefulError `upgrade_required`, `host_draining`, `host_full` or `address_limit`
   */
  accept(request: Request, clientAddress: string): FramedConnection {
    const { sockets, isDraining } = this.#setup;
    if (!wantsWebSocket(request))
      throw new StatefulError("upgrade_required", `${connectPath} speaks WebSocket only.`);
    if (isDraining())
      throw new StatefulError("host_draining", "The host is going away; connect again.", {
        retryAfterMs: 1000,
      });
    if (sockets.isFull) throw hostFull();
    const { url, headers } = request;
    const origin = url.slice(0, url.length - pathAndQuery(url).length);
    return new FramedConnection(this.#setup, { origin, headers, clientAddress });
  }
}
