import type { CancelTimer, Clock } from "../lib/clock.ts";
import { type ErrorCode, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { VersionRange } from "../lib/version-range.ts";
import type { Hello } from "./frame.ts";
import type { LinkHandlers, LinkPeer, LinkTarget } from "./link.ts";
import type { LinkConnection } from "./link-connection.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { LinkSecret } from "./link-secret.ts";
import type { PeerLinks } from "./peer-links.ts";
import type { Transport } from "./transport.ts";

/** What the links of one host have in common. The pool provides it. */
export interface LinkingHost {
  readonly secret: LinkSecret;
  readonly versions: VersionRange;
  readonly handlers: LinkHandlers;
  readonly limits: LinkLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly nextTurn: (flush: () => void) => void;
  random(): number;
  wrap(transport: Transport, peer: LinkPeer): Transport;
  /** How to dial a host without help. */
  direct(target: LinkTarget): LinkWay;
  /** The number of the next dial; numbers rise over the host's whole life. */
  countDial(): number;
  dialCount(): number;
  begun(connection: LinkConnection): void;
  gone(connection: LinkConnection): void;
  /** Nothing is open or under way any more. */
  idle(peer: PeerLinks): void;
}

/** How a dial reaches its target. */
export interface LinkWay {
  /** The host that relays it. */
  readonly through: LinkPeer | undefined;
  /** From the start of the dial to the peer's hello. */
  readonly timeoutMs: number;
  /** `headers` is called for each request, because signed headers are good for one only. */
  dial(headers: () => Record<string, string>, signal: AbortSignal): Promise<Transport>;
}

/** A dial of ours, or an accepted socket of the peer's, until its link opens. */
export interface Attempt {
  readonly number: number;
  readonly through: LinkPeer | undefined;
  readonly timeoutMs: number;
  /** Whom a dial of ours is to reach. */
  readonly target: LinkTarget | undefined;
  /** Gives up a dial that has no connection yet. */
  readonly abort: AbortController | undefined;
  connection: LinkConnection | undefined;
  /** The hello that is held back. */
  greeting?: Hello | undefined;
  cancelLimit: CancelTimer | undefined;
  /** It waits until the open link, a relayed one, carries no channel (K17). */
  spares: boolean;
}

export interface OpenLink {
  readonly attempt: Attempt;
  readonly connection: LinkConnection;
  /** How many dials the peer had begun when it greeted. */
  readonly peerDials: number;
  readonly openedAtMs: number;
}

export function helloFrom(
  { limits, versions }: { readonly limits: LinkLimits; readonly versions: VersionRange },
  self: LinkPeer,
  proof: string,
  dials: number,
): Hello {
  const { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax } = limits;
  const windows = { linkWindowBytes, channelWindowBytes, channelDebtBytesMax, messageBytesMax };
  return { versions, ...self, proof, dials, ...windows };
}

export function checkPeer(hello: Hello, session: string): StatefulError | undefined {
  if (hello.session === session) return undefined;
  return new StatefulError(
    "not_owner",
    `The peer says that it is session ${hello.session} and not ${session}.`,
  );
}

const toldAsTheyAre: ReadonlySet<ErrorCode> = new Set([
  "not_owner",
  "owner_unreachable",
  "session_over",
  "version_mismatch",
]);

/**
 * What a caller of `to` is told. That the session is not there, or speaks another version, is worth knowing apart. Anything else, a wrong secret
 * included, must not pass for an answer to the client whose request wanted the link.
 */
export function dialError(error: StatefulError, session: string): StatefulError {
  if (toldAsTheyAre.has(error.code)) return error;
  return new StatefulError(
    "owner_unreachable",
    `Session ${session} cannot be linked, ${error.code}: ${error.message}`,
    { cause: error },
  );
}
