import type { Clock } from "../lib/clock.ts";
import type { StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { VersionRange } from "../lib/version-range.ts";
import type { Hello } from "./frame.ts";
import type { LinkHandlers, LinkPeer } from "./link.ts";
import type { LinkConnection } from "./link-connection.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { Transport } from "./transport.ts";

/** What one link is made of, and whom it tells. */
export interface LinkConnectionOptions {
  readonly transport: Transport;
  /** The dialer opens channels with odd ids, the acceptor with even ones, so they never meet. */
  readonly side: "dialer" | "acceptor";
  readonly peer: LinkPeer;
  readonly through?: LinkPeer | undefined;
  readonly handlers: LinkHandlers;
  readonly versions: VersionRange;
  readonly limits: LinkLimits;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs the callback after the current turn: one transport write carries all that was sent in it. */
  readonly nextTurn: (flush: () => void) => void;
  /** Refuses a peer that is not who it should be. */
  checkHello(hello: Hello): StatefulError | undefined;
  opened(link: LinkConnection, hello: Hello): void;
  /** Its last channel has ended. */
  unused?(link: LinkConnection): void;
  /** Once, for whatever reason, after the channels have heard. */
  ended(link: LinkConnection, error: StatefulError): void;
  /** Once, when the transport has closed too and nothing of the link is left. */
  gone(link: LinkConnection): void;
}
