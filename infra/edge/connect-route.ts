import { StatefulError } from "../lib/errors.ts";
import type { VersionRange } from "../lib/version-range.ts";
import { clientVersions, otherProtocolCloseCode, protocolOf, whyNotSpoken } from "./client-protocol.ts";
import { FramedConnection, type FramedConnectionSetup } from "./framed-connection.ts";
import { wantsWebSocket } from "./http-fields.ts";
import { pathAndQuery } from "./object-target.ts";
import { hostFull } from "./wanted-upgrade.ts";

export const connectPath = "/-/connect";

export interface ConnectRouteSetup extends FramedConnectionSetup {
  readonly isDraining: () => boolean;
  /** Of the protocol, that this host speaks. Default: all that this build knows. */
  readonly versions?: VersionRange;
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
   * @throws StatefulError `upgrade_required`, `bad_request`, `host_draining`, `host_full` or `address_limit`
   */
  accept(request: Request, clientAddress: string): FramedConnection {
    const { sockets, isDraining, versions = clientVersions } = this.#setup;
    if (!wantsWebSocket(request))
      throw new StatefulError("upgrade_required", `${connectPath} speaks WebSocket only.`);
    const asked = protocolOf(request.url);
    if (isDraining())
      throw new StatefulError("host_draining", "The host is going away; connect again.", {
        retryAfterMs: 1000,
      });
    if (sockets.isFull) throw hostFull();
    const { url, headers } = request;
    const origin = url.slice(0, url.length - pathAndQuery(url).length);
    const protocol = Math.min(asked, versions.newest);
    const connection = new FramedConnection(this.#setup, { origin, headers, clientAddress, protocol });
    // A browser's page is told nothing of an upgrade that fails: it is closed once it is open.
    const whyNot = whyNotSpoken(asked, versions);
    if (whyNot !== undefined) connection.close(otherProtocolCloseCode, whyNot);
    return connection;
  }
}
