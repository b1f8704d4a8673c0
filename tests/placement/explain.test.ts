import { describe, expect, test } from "bun:test";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { refusal } from "../../infra/placement/eligibility.ts";
import { explain } from "../../infra/placement/explain.ts";
import { place } from "../../infra/placement/place.ts";
import { refusalInWords } from "../../infra/placement/refusal-words.ts";
import { host, measured, question } from "./questions.ts";

const near = host("near", { load: { objects: 250 } });
const far = host("far", { region: "nrt" });
const other = host("other", { classes: ["counter", "channel"] });
const full = host("full", { load: { objects: 1000 } });

test("P8 the whole explanation, as a person gets it", () => {
  const asked = question([far, near, other, full], {
    object: objectRef("room", "a/b"),
    roundTripMs: measured({ far: 170.004 }),
  });
  const owner = { hostId: "near", region: "iad", epoch: 7, session: "secret", privateUrl: "http://secret" };
  expect(explain(asked, place(asked), owner)).toEqual({
    object: { class: "room", id: "a/b", key: "room/a%2Fb" },
    askedFrom: { region: "iad" },
    owner: { hostId: "near", region: "iad", epoch: 7 },
    policy: { strategy: "nearest", regions: [] },
    candidates: [
      { rank: 1, hostId: "near", region: "iad", distanceMs: 1, distanceFrom: "estimated", load: 0.25 },
      { rank: 2, hostId: "far", region: "nrt", distanceMs: 170, distanceFrom: "measured", load: 0 },
    ],
    refused: [
      {
        hostId: "full",
        region: "iad",
        reason: "object_limit",
        why: "It holds 1000 objects of at most 1000.",
      },
      {
        hostId: "other",
        region: "iad",
        reason: "class_missing",
        why: 'It does not have the class "room": it runs counter, channel.',
      },
    ],
  });
});

test("P8 an explanation holds no address and no session of a host", () => {
  const asked = question([near, far, other, full]);
  const text = JSON.stringify(explain(asked, place(asked), undefined));
  expect(text).toContain('"owner":null');
  for (const { session, privateUrl } of asked.hosts) {
    expect(text).not.toContain(session);
    expect(text).not.toContain(privateUrl);
  }
});

test("P8 what the edge learned by asking is explained too", () => {
  const asked = question([near]);
  const refused = [refusal(near, "unreachable"), refusal(near, "session_over")];
  const { refused: explained } = explain(asked, { ranked: [], refused }, undefined);
  expect(explained.map(({ why }) => why)).toEqual([
    "It could not be reached from the edge that asked.",
    "Its session in the directory was over when it was asked.",
  ]);
});

describe("P8 reasons in words", () => {
  test("P8 regions", () => {
    const pinned = question([], { policy: { strategy: "pinned", regions: ["ams", "fra"] } });
    const words = refusalInWords("outside_pinned_regions", pinned, near);
    expect(words).toBe("The class may live in ams, fra only.");
    const nowhere = question([], { policy: { strategy: "pinned", regions: [] } });
    expect(refusalInWords("outside_pinned_regions", nowhere, near)).toContain("Set placement.regions");
  });

  test("P8 figures, and their absence", () => {
    const sick = host("sick", { load: { memoryUsedBytes: 3 * 1024 ** 2, memoryLimitBytes: 2 * 1024 ** 2 } });
    const asked = question([]);
    expect(refusalInWords("memory_limit", asked, sick)).toBe("It uses 3 MiB of at most 2 MiB.");
    expect(refusalInWords("memory_limit", asked, undefined)).toBe("It is at its memory limit.");
    expect(refusalInWords("object_limit", asked, undefined)).toBe("It is at its object limit.");
    expect(refusalInWords("draining", asked, near)).toBe("It is going away and takes nothing new.");
  });

  test("P8 versions, an image by its tag alone", () => {
    const old = host("old", { version: "registry.fly.io/app:deployment-1@sha256:0a" });
    const asked = question([old, host("new", { version: "registry.fly.io/app:deployment-2@sha256:0b" })]);
    const { refused } = explain(asked, place(asked), undefined);
    expect(refused[0]?.why).toBe(
      'It runs version "deployment-1", which is older than version "deployment-2".',
    );
    const long = refusalInWords("older_version", asked, host("a", { version: "9".repeat(999) }), undefined);
    expect(long).toBe(`It runs version "${"9".repeat(80)}", which is older than another version.`);
  });

  test("P8 moves", () => {
    const asked = question([]);
    expect(refusalInWords("present_owner", asked, near)).toBe("The object lives there already.");
    expect(refusalInWords("not_wished", asked, near)).toBe("It is not where the object was to be moved.");
    expect(refusalInWords("little_room", asked, near)).toContain("90 % full or more");
  });

  test("P8 a long list of classes is cut", () => {
    const many = host("many", { classes: Array.from({ length: 23 }, (_, index) => `class-${index}`) });
    const words = refusalInWords("class_missing", question([]), many);
    expect(words).toEndWith("class-19 and 3 more.");
    expect(refusalInWords("class_missing", question([]), undefined)).toEndWith("it runs none.");
  });
});
