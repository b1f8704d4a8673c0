import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import { StatefulError } from "../lib/errors.ts";
import { type VersionRange, versionRange } from "../lib/version-range.ts";
import type { LinkPeer } from "./link.ts";
import { linkVersions, versionRefusal } from "./link-versions.ts";

/**
 * Who may link to whom. All hosts of a cluster share a secret; a dialer proves that it has it by signing a short header of
 * its upgrade request, an acceptor by signing the dialer's nonce in its hello. Neither ever sends the secret.
 *
 *     stateful-link-version: <the oldest version that the dialer speaks>
 *     stateful-link-newest: <the newest; missing where that is the same>
 *     authorization: StatefulLink <claims, base64url JSON>.<HMAC-SHA-256 of the claims, base64url>
 *
 * A captured header is useless: it names its target session, its time must be within `replayWindowMs` of the acceptor's
 * clock, and its nonce works once (K10). A restarted acceptor has forgotten its nonces, but it also has a new session, so
 * what was meant for the old one is refused by that.
 *
 * The secret turns over without a gap: add the new one in second place everywhere, then put it first everywhere, then
 * remove the old one. The first signs, both are accepted.
 */
export interface LinkClaims {
  /** The oldest version that the dialer speaks. */
  readonly version: number;
  /** The newest. Missing where that is the same. */
  readonly newest?: number;
  /** The dialer. */
  readonly session: string;
  readonly hostId: string;
  readonly region: string;
  /** The session that the dialer means to reach. */
  readonly target: string;
  /** The how-manieth dial of its host this is. */
  readonly dial: number;
  /** The dialer's wall clock. */
  readonly timeMs: number;
  readonly nonce: string;
  /** The dialer has a relayed link, and wants this direct one only while nothing is under way on that (K17). */
  readonly spares?: boolean;
}

/** Further apart than this, the clocks of two hosts keep them from linking. Wider keeps more nonces. */
export const replayWindowMs = 30_000;
/** Nonces remembered. Only a holder of the secret can add one, so running out means a fault among our own hosts. */
export const noncesMax = 16_384;
export const secretCharsMin = 16;
export const authorizationCharsMax = 2_048;
const scheme = "StatefulLink ";
const oldestHeader = "stateful-link-version";
const newestHeader = "stateful-link-newest";

export class LinkSecret {
  // Key objects print as such: a secret cannot end up in a log through the object that holds it.
  readonly #keys: readonly KeyObject[];
  readonly #signingKey: KeyObject;
  readonly #clock: Clock;
  readonly #versions: VersionRange;
  /** Nonce to the time it may be forgotten, in the order they came. */
  readonly #nonces = new Map<string, number>();

  constructor(
    secrets: readonly [current: string, other?: string],
    clock: Clock,
    versions: VersionRange = linkVersions,
  ) {
    const keys = secrets.map(keyOf);
    const [signingKey] = keys;
    if (signingKey === undefined)
      throw new StatefulError("internal", "A cluster needs a secret for its links.");
    this.#keys = keys;
    this.#signingKey = signingKey;
    this.#clock = clock;
    this.#versions = versions;
  }

  /** What this host speaks. */
  get versions(): VersionRange {
    return this.#versions;
  }

  /** The headers of one dial, good for one request. `proves` checks the answer to it. */
  sign(self: LinkPeer, target: string, dial: number, spares = false): SignedDial {
    const nonce = randomBytes(16).toString("base64url");
    const { session, hostId, region } = self;
    const timeMs = this.#clock.wallMs();
    const { oldest, newest } = this.#versions;
    const claims: LinkClaims = {
      version: oldest,
      newest,
      session,
      hostId,
      region,
      target,
      dial,
      timeMs,
      nonce,
      ...(spares && { spares }),
    };
    const text = Buffer.from(JSON.stringify(claims)).toString("base64url");
    return {
      nonce,
      headers: {
        [oldestHeader]: String(oldest),
        [newestHeader]: String(newest),
        authorization: `${scheme}${text}.${mac(this.#signingKey, "dial", text).toString("base64url")}`,
      },
    };
  }

  /** The claims of an upgrade request for `self`, or why it is refused. */
  verify(headers: Pick<Headers, "get">, self: LinkPeer): LinkClaims | StatefulError {
    const oldest = headers.get(oldestHeader);
    const refusal = this.#versionRefusal(Number(oldest), Number(headers.get(newestHeader) ?? oldest));
    if (refusal !== undefined) return refusal;
    const authorization = headers.get("authorization") ?? "";
    if (!authorization.startsWith(scheme) || authorization.length > authorizationCharsMax) {
      return new StatefulError(
        "unauthorized",
        "A link needs an authorization header signed with the cluster's secret.",
      );
    }
    const [text = "", signature = ""] = authorization.slice(scheme.length).split(".", 2);
    if (!this.#isSigned("dial", text, signature)) {
      return new StatefulError(
        "unauthorized",
        "The link's authorization is not signed with this cluster's secret.",
      );
    }
    const claims = parseClaims(text);
    if (claims === undefined)
      return new StatefulError("bad_request", "The link's signed claims cannot be read.");
    return this.#refusal(claims, self) ?? claims;
  }

  /** The acceptor's part: that it holds the secret, is the session that was meant, and answers this very dial. */
  prove(claims: LinkClaims): string {
    return mac(this.#signingKey, "accept", `${claims.nonce} ${claims.target}`).toString("base64url");
  }

  /** Checks a `proof` for one of the nonces of a dial. */
  isProof(proof: string, nonce: string, target: string): boolean {
    return this.#isSigned("accept", `${nonce} ${target}`, proof);
  }

  #refusal(claims: LinkClaims, self: LinkPeer): StatefulError | undefined {
    const mismatch = this.#versionRefusal(claims.version, claims.newest ?? claims.version);
    if (mismatch !== undefined) return mismatch;
    const aheadMs = claims.timeMs - this.#clock.wallMs();
    if (Math.abs(aheadMs) > replayWindowMs) {
      const distance = `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? "ahead of" : "behind"}`;
      return new StatefulError(
        "unauthorized",
        `The link's authorization is ${distance} the clock of host ${self.hostId}.`,
      );
    }
    if (claims.target !== self.session) {
      return new StatefulError(
        "not_owner",
        `Host ${self.hostId} is not session ${claims.target}, which is over or elsewhere.`,
      );
    }
    return this.#spend(claims.nonce);
  }

  #versionRefusal(oldest: number, newest: number): StatefulError | undefined {
    const theirs = versionRange(oldest, newest);
    if (theirs === undefined)
      return new StatefulError(
        "bad_request",
        "A link's dial says which versions it speaks, as whole numbers.",
      );
    return versionRefusal(theirs, this.#versions);
  }

  #spend(nonce: string): StatefulError | undefined {
    const now = this.#clock.monotonicMs();
    for (const [old, until] of this.#nonces) {
      if (until >= now) break;
      this.#nonces.delete(old);
    }
    if (this.#nonces.has(nonce))
      return new StatefulError("unauthorized", "The link's authorization was used before.");
    if (this.#nonces.size >= noncesMax) {
      return new StatefulError(
        "link_overloaded",
        `More than ${noncesMax} dials within ${(2 * replayWindowMs) / 1000} s.`,
      );
    }
    // A header from the far end of the window ahead stays good for twice the window.
    this.#nonces.set(nonce, now + 2 * replayWindowMs);
    return undefined;
  }

  /** Compares with every key, so that the time it takes does not tell which one is in use. */
  #isSigned(purpose: "dial" | "accept", text: string, signature: string): boolean {
    const given = Buffer.from(signature, "base64url");
    let isSigned = false;
    for (const key of this.#keys) {
      const expected = mac(key, purpose, text);
      if (given.byteLength === expected.byteLength && timingSafeEqual(given, expected)) isSigned = true;
    }
    return isSigned;
  }
}

export interface SignedDial {
  readonly nonce: string;
  readonly headers: Record<string, string>;
}

function keyOf(secret: string | undefined): KeyObject {
  if (secret === undefined || secret.length < secretCharsMin) {
    throw new StatefulError(
      "internal",
      `A cluster secret has at least ${secretCharsMin} characters; this one is shorter.`,
    );
  }
  return createSecretKey(Buffer.from(secret));
}

/** The purpose is signed too: a proof can never pass for a dial. */
function mac(key: KeyObject, purpose: "dial" | "accept", text: string): Buffer {
  return createHmac("sha256", key).update(`stateful-objects link ${purpose} ${text}`).digest();
}

function parseClaims(text: string): LinkClaims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
    return isClaims(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isClaims(value: unknown): value is LinkClaims {
  if (typeof value !== "object" || value === null) return false;
  const fields: Record<string, unknown> = { ...value };
  const texts = [fields.session, fields.hostId, fields.region, fields.target, fields.nonce];
  const numbers = [fields.version, fields.dial, fields.timeMs];
  return (
    texts.every((each) => typeof each === "string" && each.length <= 256) &&
    numbers.every(Number.isFinite) &&
    (fields.newest === undefined || Number.isFinite(fields.newest)) &&
    (fields.spares === undefined || typeof fields.spares === "boolean")
  );
}
