import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  compareVersions,
  isOlderVersion,
  newestVersion,
  olderVersions,
  versionTag,
} from "../../infra/placement/version-order.ts";

const ulids = [
  "01HZZZZZZZZZZZZZZZZZZZZZZZ",
  "01J10AAAAAAAAAAAAAAAAAAAAA",
  "01J9ZK3T8QWERTYVBNMASDFGHJ",
] as const;
const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
const image = (tag: string) => `registry.fly.io/app:deployment-${tag}@${digest}`;

describe("P9 which version is newer", () => {
  const ascending: readonly (readonly [string, readonly string[]])[] = [
    ["numbers are numbers", ["v1", "v2", "v9", "v10", "v11", "v100"]],
    ["in every place", ["1.2.9", "1.2.10", "1.10.0", "2.0", "10"]],
    ["also long ones", ["build-9007199254740992", "build-9007199254740993", "build-90071992547409920"]],
    ["more is newer", ["", "1", "1.2", "1.2.1"]],
    ["dates", ["2025-12-31", "2026-01-01T09:59:59Z", "2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z"]],
    ["ULIDs", ulids.map((ulid) => `deployment-${ulid}`)],
    ["ULIDs in small letters", ulids.map((ulid) => `release_${ulid.toLowerCase()}`)],
    ["images, by their tags", ulids.map(image)],
  ];
  for (const [what, versions] of ascending) {
    test(`P9 ${what}`, () => {
      for (const [index, older] of versions.entries()) {
        for (const newer of versions.slice(index + 1)) {
          expect([older, newer, Math.sign(compareVersions(older, newer))]).toEqual([older, newer, -1]);
          expect(Math.sign(compareVersions(newer, older))).toBe(1);
        }
      }
    });
  }

  test("P9 the digits of a ULID are no numbers: 9 comes after 10 in it, as V after 1", () => {
    const [earlier, later] = ["01J10AAAAAAAAAAAAAAAAAAAAA", "01J9AAAAAAAAAAAAAAAAAAAAAA"] as const;
    expect(isOlderVersion(earlier, later)).toBe(true);
    // One letter less, and it is text with numbers in it.
    expect(isOlderVersion(earlier.slice(0, -1), later.slice(0, -1))).toBe(false);
    expect(isOlderVersion("70000000000000000000000000", "90000000000000000000000000")).toBe(true);
  });

  test("P9 where an image came from, and its digest, do not count before the tag", () => {
    expect(isOlderVersion("zzz.example/z/app:v9", "aaa.example:5000/a/app:v10")).toBe(true);
    expect(isOlderVersion(`app:v9@sha256:ff`, `app:v10@sha256:00`)).toBe(true);
    expect(isOlderVersion(`registry.fly.io/app:v9@sha256:ff`, "v10")).toBe(true);
    expect(isOlderVersion("v9", `registry.fly.io/app:v10`)).toBe(true);
  });

  test("P9 what only looks like an image is compared whole", () => {
    for (const plain of ["2026-01-01T10:00:00Z", "app:v9", "a/b", "a/b:", "http://a b/c:d", "@", "/:", "a@b"])
      expect(versionTag(plain)).toBe(plain);
    expect(versionTag(image(ulids[0]))).toBe(`deployment-${ulids[0]}`);
    expect(versionTag("localhost:5000/app")).toBe("localhost:5000/app");
    expect(versionTag("localhost:5000/a/b/app:1.2_x-y")).toBe("1.2_x-y");
  });

  test("P9 texts that differ are never the same version, however alike", () => {
    const alike = ["1", "01", "001", "1.0", "1.00", image(ulids[0]), `deployment-${ulids[0]}`, "dev", "Dev"];
    for (const a of alike) for (const b of alike) expect(compareVersions(a, b) === 0).toBe(a === b);
  });

  test("P9 newest and older of a list", () => {
    expect(newestVersion(["v9", "v10", "v2"])).toBe("v10");
    expect(newestVersion([])).toBeUndefined();
    expect([...olderVersions(["v9", "v10", "v9", "v11"], "v10")]).toEqual(["v9"]);
  });
});

/** Texts that have much in common, so that ties and near-ties come up; and any text at all. */
const anyVersion = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .array(fc.constantFrom("0", "1", "9", "10", "01", "a", "-", ".", "v"), { maxLength: 6 })
      .map((parts) => parts.join("")),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...ulids,
      ...ulids.map(image),
      ...ulids.map((ulid) => `deployment-${ulid.toLowerCase()}`),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...ulids), fc.constantFrom("", "-", "1", ".2"))
      .map((parts) => parts.join("")),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom("a/b:", "c.d:1/e/f:"),
        fc.stringMatching(/^[\w.-]{1,6}$/),
        fc.constantFrom("", "@sha256:0a"),
      )
      .map((parts) => parts.join("")),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
);

describe("P9 the order is total", () => {
  test("P9 equal only to itself, and the other way round the other way round", () => {
    fc.assert(
      fc.property(anyVersion, anyVersion, (a, b) => {
        expect(compareVersions(a, b) === 0).toBe(a === b);
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
      }),
      { numRuns: 2000 },
    );
  });

  test("P9 transitive", () => {
    fc.assert(
      fc.property(anyVersion, anyVersion, anyVersion, (a, b, c) => {
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 5000 },
    );
  });

  test("P9 any two numbers", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 40n }),
        fc.bigInt({ min: 0n, max: 10n ** 40n }),
        (a, b) => {
          expect(Math.sign(compareVersions(`v${a}`, `v${b}`))).toBe(a === b ? 0 : a < b ? -1 : 1);
        },
      ),
    );
  });

  test("P9 any two ULIDs, as text", () => {
    const anyUlid = fc.stringMatching(/^01J[0-9A-HJKMNP-TV-Z]{22}Z$/);
    fc.assert(
      fc.property(anyUlid, anyUlid, (a, b) => {
        expect(isOlderVersion(image(a), image(b))).toBe(a < b);
      }),
    );
  });

  test("P9 a text of any length is compared in time", () => {
    const long = `${"a/".repeat(20_000)}b:${"0".repeat(20_000)}@`;
    const startedMs = performance.now();
    compareVersions(long, `${long}1`);
    compareVersions("1-".repeat(20_000), "01-".repeat(20_000));
    expect(performance.now() - startedMs).toBeLessThan(1000);
  });
});
