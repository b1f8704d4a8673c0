import { describe, expect, test } from "bun:test";
import { StatefulError } from "../../infra/lib/errors.ts";
import { linkVersions } from "../../infra/link/link-versions.ts";
import { LinkSecret, noncesMax, replayWindowMs } from "../../infra/link/link-secret.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const dialer = { session: "s1", hostId: "h1", region: "iad" };
const acceptor = { session: "s2", hostId: "h2", region: "ams" };
const old = "the old secret of a cluster";
const next = "the new secret of a cluster";

function setUp() {
  const clock = new VirtualClock();
  return { clock, here: new LinkSecret([old], clock), there: new LinkSecret([old], clock) };
}

function refusal(secret: LinkSecret, headers: Record<string, string>): StatefulError | undefined {
  const verdict = secret.verify(new Headers(headers), acceptor);
  return verdict instanceof StatefulError ? verdict : undefined;
}

describe("who may link", () => {
  test("K10: a signed header says who dials, and its nonce is answered with a proof", () => {
    const { here, there } = setUp();
    const { headers, nonce } = here.sign(dialer, "s2", 7);
    const claims = there.verify(new Headers(headers), acceptor);
    if (claims instanceof StatefulError) throw claims;
    expect(claims).toMatchObject({
      ...dialer,
      target: "s2",
      dial: 7,
      version: linkVersions.oldest,
      newest: linkVersions.newest,
    });
    const proof = there.prove(claims);
    expect(here.isProof(proof, nonce, "s2")).toBe(true);
    expect(here.isProof(proof, "another nonce", "s2")).toBe(false);
    expect(here.isProof(proof, nonce, "s3")).toBe(false);
    expect(here.isProof("", nonce, "s2")).toBe(false);
  });

  test("K10: another secret, a changed claim, or no header at all is refused", () => {
    const { here, there, clock } = setUp();
    const { headers } = here.sign(dialer, "s2", 1);
    const [claims = "", signature = ""] = (headers.authorization ?? "")
      .replace("StatefulLink ", "")
      .split(".");
    const forged = JSON.parse(Buffer.from(claims, "base64url").toString());
    const changed = Buffer.from(JSON.stringify({ ...forged, hostId: "h9" })).toString("base64url");
    const bad: Record<string, string>[] = [
      new LinkSecret([next], clock).sign(dialer, "s2", 1).headers,
      { ...headers, authorization: `StatefulLink ${changed}.${signature}` },
      { ...headers, authorization: `StatefulLink ${claims}.` },
      { ...headers, authorization: `StatefulLink ${claims}.${signature}${signature}` },
      { ...headers, authorization: "Bearer x" },
      { ...headers, authorization: `StatefulLink ${"x".repeat(5_000)}.y` },
      { "stateful-link-version": "1" },
    ];
    for (const each of bad) expect(refusal(there, each)?.code).toBe("unauthorized");
    expect(refusal(there, headers)).toBeUndefined();
  });

  test("K10: a header works once", () => {
    const { here, there } = setUp();
    const { headers } = here.sign(dialer, "s2", 1);
    expect(refusal(there, headers)).toBeUndefined();
    expect(refusal(there, headers)?.message).toContain("was used before");
  });

  test("K10: a header is refused outside of the replay window, on either side of it", async () => {
    const { here, there, clock } = setUp();
    const early = here.sign(dialer, "s2", 1).headers;
    await clock.advance(replayWindowMs + 1);
    expect(refusal(there, early)?.message).toContain("30 s behind the clock of host h2");
    const late = here.sign(dialer, "s2", 1).headers;
    clock.stepWall(-replayWindowMs - 1);
    expect(refusal(there, late)?.message).toContain("30 s ahead of the clock of host h2");
  });

  test("K10: a header that is still in its window is never forgotten", async () => {
    const { here, there, clock } = setUp();
    clock.stepWall(replayWindowMs);
    const { headers } = here.sign(dialer, "s2", 1);
    clock.stepWall(-replayWindowMs);
    expect(refusal(there, headers)).toBeUndefined();
    for (let step = 0; step < 12; step += 1) {
      await clock.advance(replayWindowMs / 6);
      refusal(there, here.sign(dialer, "s2", 1).headers);
      expect(refusal(there, headers)).toBeDefined();
    }
  });

  test("K10: the nonces are bounded, and room comes back with time", async () => {
    const { here, there, clock } = setUp();
    for (let n = 0; n < noncesMax; n += 1)
      expect(refusal(there, here.sign(dialer, "s2", n).headers)).toBeUndefined();
    expect(refusal(there, here.sign(dialer, "s2", 1).headers)?.code).toBe("link_overloaded");
    await clock.advance(2 * replayWindowMs + 1);
    expect(refusal(there, here.sign(dialer, "s2", 1).headers)).toBeUndefined();
  });

  test("K10: what names another session is refused as not_owner", () => {
    const { here, there } = setUp();
    expect(refusal(there, here.sign(dialer, "s2-before-the-restart", 1).headers)).toMatchObject({
      code: "not_owner",
      message: "Host h2 is not session s2-before-the-restart, which is over or elsewhere.",
    });
  });

  test("K10: the secret turns over with no moment at which two hosts refuse each other", () => {
    const { clock } = setUp();
    const steps: (readonly [string, string?])[] = [[old], [old, next], [next, old], [next]];
    for (let step = 1; step < steps.length; step += 1) {
      const before = new LinkSecret(steps[step - 1] ?? [old], clock);
      const after = new LinkSecret(steps[step] ?? [old], clock);
      for (const [from, to] of [
        [before, after],
        [after, before],
      ] as const) {
        const { headers, nonce } = from.sign(dialer, "s2", 1);
        const claims = to.verify(new Headers(headers), acceptor);
        if (claims instanceof StatefulError) throw claims;
        expect(from.isProof(to.prove(claims), nonce, "s2")).toBe(true);
      }
    }
  });

  test("K11: another protocol version is refused before anything else is read, naming both", () => {
    const { here, there } = setUp();
    const { headers } = here.sign(dialer, "s2", 1);
    const later = { ...headers, "stateful-link-version": "9", "stateful-link-newest": "10" };
    const verdict = refusal(there, { ...later, authorization: "unheard of" });
    expect(verdict?.code).toBe("version_mismatch");
    expect(verdict?.message).toContain("the peer speaks versions 9 to 10");
    expect(verdict?.message).toContain(`this host versions ${linkVersions.oldest} to ${linkVersions.newest}`);
    for (const wrong of [
      {},
      { "stateful-link-version": "x" },
      { "stateful-link-version": "2", "stateful-link-newest": "1" },
    ])
      expect(refusal(there, wrong)?.code).toBe("bad_request");
  });

  test("K11: a dialer of the first release, which names one version, is let in", () => {
    const { clock, there } = setUp();
    const first = new LinkSecret([old], clock, { oldest: 1, newest: 1 });
    const { headers } = first.sign(dialer, "s2", 1);
    delete headers["stateful-link-newest"];
    expect(there.verify(new Headers(headers), acceptor)).toMatchObject({
      session: dialer.session,
      version: 1,
    });
  });

  test("a secret does not show, and a short one is refused", () => {
    const { here, clock } = setUp();
    expect(Bun.inspect(here, { depth: 9 }) + JSON.stringify(here) + String(here)).not.toContain(old);
    expect(() => new LinkSecret(["short"], clock)).toThrow("at least 16 characters");
    expect(() => new LinkSecret(["short"], clock)).not.toThrow("short,");
  });
});
