import { describe, expect, test } from "bun:test";
import { versionMismatch, linkVersions } from "../../infra/link/link-versions.ts";
import { readRecorded } from "./recorded.ts";
import { samples } from "./samples.ts";

/**
 * What hosts of every version that this build speaks have written, byte for byte, and what is made of it here. A change of the
 * wire without a version of its own fails the first of these tests.
 */
const remedy =
  "A host of the last release would not understand this. Raise linkVersions.newest, name in broughtBy what it brings, ask " +
  "Link.version where it is written (infra/link/link-versions.ts), and run: bun run record-wire";
const versions = Array.from(
  { length: linkVersions.newest - linkVersions.oldest + 1 },
  (_, index) => linkVersions.oldest + index,
);

describe("the wire", () => {
  test(`K19 what a host writes is what version ${linkVersions.newest} is recorded to be`, async () => {
    const recorded = await readRecorded(linkVersions.newest);
    const changed = samples.filter(
      ({ name, write }) => !Bun.deepEquals(write(linkVersions.newest), recorded.get(name)),
    );
    const gone = [...recorded.keys()].filter((name) => !samples.some((sample) => sample.name === name));
    const names = [...changed.map(({ name }) => name), ...gone];
    if (names.length > 0)
      throw new Error(`Changed, but still version ${linkVersions.newest}: ${names.join("; ")}. ${remedy}`);
  });

  for (const version of versions) {
    test(`K19 whatever a host of version ${version} writes is read as it was meant`, async () => {
      const recorded = await readRecorded(version);
      for (const [name, payload] of recorded) {
        if (name === "names") continue; // It lists what there is, and is no message.
        const sample = samples.find((each) => each.name === name);
        if (sample === undefined)
          throw new Error(`Nobody says what "${name}" of version ${version} is to mean.`);
        expect([name, sample.read(payload, version)]).toEqual([name, sample.meant(version)]);
      }
      const missing = samples.filter(({ name, since }) => since <= version && !recorded.has(name));
      expect(missing.map(({ name }) => name)).toEqual(version === 1 ? notInTheFirst : []);
    });

    test(`K19 a host of version ${version} is written to in its own words`, async () => {
      const recorded = await readRecorded(version);
      const own = samples.filter(({ name, saysMore }) => recorded.has(name) && !saysMore && name !== "names");
      expect(own.length).toBeGreaterThan(30);
      for (const sample of own)
        expect([sample.name, sample.write(version)]).toEqual([sample.name, recorded.get(sample.name) ?? ""]);
    });
  }

  test("K11 versions before the oldest, and after the newest, are refused with a message that names both", () => {
    const { oldest, newest } = linkVersions;
    for (const theirs of [
      { oldest: newest + 1, newest: newest + 2 },
      { oldest: oldest - 1, newest: oldest - 1 },
    ]) {
      const error = versionMismatch(theirs, linkVersions);
      expect(error).toMatchObject({ code: "version_mismatch", retryable: true, status: 503 });
      expect(error?.message).toContain(`versions ${oldest} to ${newest}`);
    }
  });
});

/** Nothing of that was ever said in the first version, in which a later code becomes an earlier one. */
const notInTheFirst = ["refusal, later code"];
