import { StatefulError } from "../lib/errors.ts";
import { invalidOption as invalid } from "./invalid-option.ts";

/**
 * Whose pages a browser may let in. Browsers send the cookies of a site with a WebSocket of any page, ask nobody's leave for
 * it, and let the page read what comes: only the server can tell its own pages from others, by the `Origin` header, which no
 * script can set (RFC 6455, section 10.2; RFC 6454, section 7). Programs that are no browser say what they like there, or
 * nothing: an origin keeps strangers' pages out, and never stands for a login.
 *
 *     "self"                   pages of the host name that the request itself names, under any scheme
 *     "https://app.example"    exactly what a browser sends: scheme, host, and the port where it is not the scheme's own
 *     "https://*.app.example"  any host below it, at any depth, and not app.example
 *     "null"                   pages without an origin: files, sandboxed frames
 */
export type AllowedOrigin = "self" | "null" | `${string}://${string}`;

const schemed = /^([a-z][a-z0-9+.-]*:\/\/)(\*\.)?([^/?#@*\s,]+)$/;
/** What stands for `*`: one label or more, each with the dot behind it. */
const labels = /^(?:[a-z0-9_-]+\.)+$/;

/** Of no browser, of a page of the same origin, and of a person who has typed the address. */
const sitesOfNoStranger = ["", "same-origin", "none"];

/** The origins that a class names, looked up as a browser spells them. */
export class Origins {
  readonly #className: string;
  readonly #exact = new Set<string>();
  readonly #below: { readonly scheme: string; readonly domain: string }[] = [];
  readonly #allowsSelf: boolean;

  /** @throws StatefulError `bad_request` naming the one that no browser sends. */
  constructor(className: string, allowed: readonly AllowedOrigin[]) {
    this.#className = className;
    if (!Array.isArray(allowed)) throw invalid(className, "origins", 'must be a list, ["self"] for one');
    this.#allowsSelf = allowed.includes("self");
    for (const origin of allowed) if (origin !== "self") this.#add(className, origin);
  }

  /**
   * @param request its headers and its URL as its client wrote it
   * Browsers leave the origin out of what a page asks for without wanting to read it (Fetch, section 4.6: `no-cors`), cookies
   * included. Then `Sec-Fetch-Site`, which no script can set either, says whether the page is one of another host (Fetch Metadata).
   *
   * @throws StatefulError `forbidden` for a page of any other origin
   */
  check({ headers, url }: Pick<Request, "url"> & { readonly headers: Pick<Headers, "get"> }): void {
    const origin = headers.get("origin");
    const isAllowed =
      origin === null
        ? sitesOfNoStranger.includes(headers.get("sec-fetch-site") ?? "")
        : this.#exact.has(origin) || this.#isBelow(origin) || this.#isSelf(origin, url);
    if (isAllowed) return;
    const whose = origin === null ? "other hosts" : `"${origin.slice(0, 200)}"`;
    throw new StatefulError("forbidden", `Pages of ${whose} may not connect to ${this.#className}.`);
  }

  #add(className: string, origin: string): void {
    const [, scheme = "", wildcard, domain = ""] = schemed.exec(origin) ?? [];
    if (origin !== "null" && !isAsSent(scheme, domain)) {
      const example = '"self", "null", "https://app.example" or "https://*.app.example"';
      throw invalid(className, "origins", `has "${origin}", which no browser sends: write ${example}`);
    }
    if (wildcard === undefined) this.#exact.add(origin);
    else this.#below.push({ scheme, domain });
  }

  #isBelow(origin: string): boolean {
    return this.#below.some(
      ({ scheme, domain }) =>
        origin.startsWith(scheme) &&
        origin.endsWith(domain) &&
        labels.test(origin.slice(scheme.length, origin.length - domain.length)),
    );
  }

  #isSelf(origin: string, url: string): boolean {
    return (
      this.#allowsSelf && URL.canParse(url) && /^https?:\/\/(.+)$/.exec(origin)?.[1] === new URL(url).host
    );
  }
}

/** Browsers spell hosts in lower case and leave the scheme's own port out; of schemes other than the web's only the app knows. */
function isAsSent(scheme: string, domain: string): boolean {
  if (domain === "" || scheme + domain !== (scheme + domain).toLowerCase()) return false;
  if (!/^https?:/.test(scheme)) return true;
  return URL.canParse(scheme + domain) && new URL(scheme + domain).origin === scheme + domain;
}
