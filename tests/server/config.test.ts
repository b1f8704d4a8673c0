import { describe, expect, test } from "bun:test";
import { ConfigError, configFromEnvironment, devAdminToken } from "../../apps/server/index.ts";

describe("STATEFUL_ADMIN_TOKEN", () => {
  const tokenOf = (env: Record<string, string>) => configFromEnvironment(env).adminToken;

  test("is what it says, and nothing where it is not set", () => {
    expect(tokenOf({ STATEFUL_ADMIN_TOKEN: "sixteen-or-more!" })).toBe("sixteen-or-more!");
    expect(tokenOf({})).toBeUndefined();
    expect(tokenOf({ STATEFUL_ADMIN_TOKEN: "" })).toBeUndefined();
  });

  test("has a default in dev only, and never on Fly", () => {
    expect(tokenOf({ STATEFUL_DEV: "1" })).toBe(devAdminToken);
    expect(tokenOf({ STATEFUL_DEV: "1", STATEFUL_ADMIN_TOKEN: "sixteen-or-more!" })).toBe("sixteen-or-more!");
    const fly = { FLY_APP_NAME: "app", CLUSTER_SECRET: "a-secret-that-only-tests-use" };
    expect(tokenOf({ ...fly, STATEFUL_DEV: "1" })).toBeUndefined();
  });

  test.each(["fifteen-letters", "sixteen or more of", "sixteen-or-more!\n", "ümlaute-sind-nicht-erlaubt"])(
    "%j is refused without being repeated",
    (token) => {
      let thrown: unknown;
      try {
        tokenOf({ STATEFUL_ADMIN_TOKEN: token });
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ConfigError);
      expect(String(thrown)).toContain("STATEFUL_ADMIN_TOKEN");
      expect(String(thrown)).not.toContain(token);
    },
  );
});

describe("CLUSTER_SECRET", () => {
  const [first, second] = ["the-first-secret-of-two", "the-second-secret-of-two"];
  const secretsOf = (text: string) => configFromEnvironment({ CLUSTER_SECRET: text }).clusterSecrets;

  test("K10 is one secret, or two while it is being changed, without the blanks around them", () => {
    expect(secretsOf("")).toEqual([]);
    expect(secretsOf(` ${first}\n`)).toEqual([first]);
    expect(secretsOf(`${first}, ${second}`)).toEqual([first, second]);
    expect(secretsOf(`${first},`)).toEqual([first]);
  });

  test.each([`${first},${second},${first}`, `${first},short`, "               x"])(
    "K10 %j is refused without being repeated",
    (text) => {
      const refused = expect(() => secretsOf(text));
      refused.toThrow("CLUSTER_SECRET");
      refused.not.toThrow(text.trim());
    },
  );

  test("K10 a host on Fly does not start without", () => {
    expect(() => configFromEnvironment({ FLY_APP_NAME: "app" })).toThrow("CLUSTER_SECRET is not set");
  });
});

describe("a drain", () => {
  test("has its limits, and says which is wrong", () => {
    expect(configFromEnvironment({})).toMatchObject({ drainLimitMs: 25_000, lameDuckMs: 1000 });
    const set = { STATEFUL_DRAIN_LIMIT_MS: "120000", STATEFUL_LAME_DUCK_MS: "0" };
    expect(configFromEnvironment(set)).toMatchObject({ drainLimitMs: 120_000, lameDuckMs: 0 });
    for (const value of ["999", "-1", "1.5", "soon"]) {
      expect(() => configFromEnvironment({ STATEFUL_DRAIN_LIMIT_MS: value })).toThrow(
        "STATEFUL_DRAIN_LIMIT_MS",
      );
    }
    expect(() => configFromEnvironment({ STATEFUL_LAME_DUCK_MS: "-1" })).toThrow("STATEFUL_LAME_DUCK_MS");
  });
});
