import { createHash, timingSafeEqual } from "node:crypto";
import { StatefulError } from "../lib/errors.ts";

const scheme = /^bearer +/i;

/** What an operator shows. Kept as a digest only, so that no log can have it from here. */
export class AdminToken {
  readonly #expected: Uint8Array | undefined;

  /** @param token without one nobody is let in */
  constructor(token: string | undefined) {
    this.#expected = token === undefined ? undefined : digest(token);
  }

  /** @throws StatefulError `forbidden` where there is no token, `unauthorized` where another is shown, or none */
  check(request: Request): void {
    if (this.#expected === undefined) {
      const message =
        "This host has no admin token, so nobody is let in. Start it with STATEFUL_ADMIN_TOKEN=$(openssl rand -hex 32).";
      throw new StatefulError("forbidden", message);
    }
    if (this.isShownBy(request)) return;
    throw new StatefulError(
      "unauthorized",
      'The admin token is needed: "Authorization: Bearer <STATEFUL_ADMIN_TOKEN>".',
    );
  }

  isShownBy(request: Request): boolean {
    if (this.#expected === undefined) return false;
    const given = request.headers.get("authorization") ?? "";
    const token = scheme.test(given) ? given.replace(scheme, "").trim() : "";
    // Digests are of one length, so the time that this takes says nothing about the token.
    return timingSafeEqual(digest(token), this.#expected);
  }
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
