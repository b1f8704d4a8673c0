import { asStatefulError, StatefulError } from "../lib/errors.ts";
import type { Link, LinkTarget } from "./link.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { PeerLinks } from "./peer-links.ts";

/**
 * The way to a host that cannot be dialled: through one other that both can reach (K15).
 *
 * Which hosts can reach the target is not known here, so a few are asked, one after the other, each for a limited time (K18).
 * First those to which a direct link is open, the nearest first: it costs no dial, and it is alive. Then others that the host
 * knows to be alive, because in a small cluster there may be no open link to any.
 */
export class RelaySearch {
  readonly #options: RelaySearchOptions;
  /** One search for all who want the same host. */
  readonly #underWay = new Map<string, Promise<Link>>();

  constructor(options: RelaySearchOptions) {
    this.#options = options;
  }

  /** `direct` is why it cannot be dialled: thrown again where no relay leads there. */
  to(target: LinkTarget, direct: StatefulError): Promise<Link> {
    const known = this.#underWay.get(target.session);
    if (known !== undefined) return known;
    if (this.#options.peer(target.session)?.relaysFailed) return Promise.reject(direct);
    const search = this.#search(target, direct).finally(() => this.#underWay.delete(target.session));
    this.#underWay.set(target.session, search);
    return search;
  }

  /** Whom to ask, the likeliest first. */
  candidates(target: LinkTarget): LinkTarget[] {
    const { hosts, limits } = this.#options;
    // The directory may show one process under two sessions for a while.
    const rated = new Map<string, { readonly host: LinkTarget; readonly distance: number }>();
    for (const host of hosts()) {
      const distance = host.session === target.session ? undefined : this.#distance(host);
      if (distance !== undefined) rated.set(host.session, { host, distance });
    }
    const nearestFirst = [...rated.values()].sort((one, other) => one.distance - other.distance);
    return nearestFirst.slice(0, limits.relaysTriedMax).map(({ host }) => host);
  }

  /** Undefined where a host cannot relay: it is this one, or itself reached through another, or not at all. */
  #distance({ session }: LinkTarget): number | undefined {
    const { peer, isSelf } = this.#options;
    if (isSelf(session)) return undefined;
    const known = peer(session);
    if (known?.link?.through !== undefined) return undefined;
    if (known?.link !== undefined) return known.link.roundTripMs ?? unmeasuredMs;
    return known?.isBackingOff ? undefined : notLinkedMs;
  }

  async #search(target: LinkTarget, direct: StatefulError): Promise<Link> {
    const asked: string[] = [];
    let last = direct;
    for (const relay of this.candidates(target)) {
      try {
        return await this.#options.through(target, relay);
      } catch (thrown) {
        last = asStatefulError(thrown, "owner_unreachable");
        if (last.code !== "owner_unreachable") throw last;
        asked.push(`${relay.hostId} (${last.message})`);
      }
    }
    const peer = this.#options.peer(target.session);
    if (peer !== undefined) peer.relaysFailed = true;
    if (asked.length === 0) throw direct;
    const { retryAfterMs } = direct;
    const why = `${direct.message} Nor through ${asked.join(" or ")}.`;
    throw new StatefulError("owner_unreachable", why, {
      cause: last,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

export interface RelaySearchOptions {
  readonly limits: LinkLimits;
  readonly hosts: () => readonly LinkTarget[];
  isSelf(session: string): boolean;
  peer(session: string): PeerLinks | undefined;
  /** A link to `target` through `relay`, or whatever other link opens meanwhile. */
  through(target: LinkTarget, relay: LinkTarget): Promise<Link>;
}

/** Behind every link that is measured, and that before no link at all. */
const unmeasuredMs = Number.MAX_SAFE_INTEGER - 1;
const notLinkedMs = Number.MAX_SAFE_INTEGER;
