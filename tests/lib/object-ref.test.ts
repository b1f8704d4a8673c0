import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatefulError } from "../../infra/lib/errors.ts";
import {
  isClassName,
  objectIdBytesMax,
  objectRef,
  objectRefFromSegment,
} from "../../infra/lib/object-ref.ts";

function refusalOf(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    if (error instanceof StatefulError) return error.code;
    throw error;
  }
  return "accepted";
}

const bytes = (text: string) => new TextEncoder().encode(text).length;

/** Any id that is allowed: well-formed, 1 to 256 bytes, not a dot segment. */
const anyId = fc
  .string({
    unit: fc.oneof(fc.constantFrom(..."aZ0-._~!*'()/?#%&=+ :@\\\"\0\n"), fc.string({ unit: "grapheme" })),
  })
  .filter(
    (id) => bytes(id) >= 1 && bytes(id) <= objectIdBytesMax && id !== "." && id !== ".." && id.isWellFormed(),
  );

/** One id, spelled at random: every byte percent-encoded or not, in upper-case or lower-case hex, where a path allows. */
const anySpelling = fc.tuple(anyId, fc.infiniteStream(fc.nat(2))).map(([id, choices]) => {
  const spell = (character: string) => {
    const choice = choices.next().value;
    const encoded = [...new TextEncoder().encode(character)]
      .map((byte) => `%${byte.toString(16).padStart(2, "0")}`)
      .join("");
    if (choice === 0 && /[\w.~!*'()&=+:@-]/.test(character)) return character;
    return choice === 1 ? encoded : encoded.toUpperCase();
  };
  return { id, spelling: [...id].map(spell).join("") };
});

describe("class names", () => {
  test("are lower-case, begin with a letter, 63 at most", () => {
    for (const name of ["a", "room", "rate-limiter", "v2", "constructor", "a".repeat(63)]) {
      expect(isClassName(name), name).toBe(true);
    }
    const bad = [
      "",
      "-",
      "Room",
      "2d",
      "-room",
      "room_1",
      "room/x",
      "room\n",
      "röm",
      "__proto__",
      "a".repeat(64),
    ];
    for (const name of bad) expect(isClassName(name), name).toBe(false);
  });

  test("that are not valid are unknown, and are not echoed at length", () => {
    expect(refusalOf(() => objectRef("Room", "1"))).toBe("unknown_class");
    expect(refusalOf(() => objectRef("__proto__", "1"))).toBe("unknown_class");
    expect(() => objectRef("x".repeat(10_000), "1")).toThrow(/^.{0,150}$/);
  });
});

describe("ids", () => {
  test("are kept as the author sees them, and encoded in the key", () => {
    expect(objectRef("room", "123")).toEqual({ key: "room/123", className: "room", id: "123" });
    expect(objectRef("room", "a/b").key).toBe("room/a%2Fb");
    expect(objectRef("room", "naïve 世界").key).toBe("room/na%C3%AFve%20%E4%B8%96%E7%95%8C");
  });

  test("of properties are ids like others", () => {
    for (const id of ["__proto__", "constructor", "toString"]) {
      expect(objectRef("room", id)).toEqual({ key: `room/${id}`, className: "room", id });
    }
  });

  test("that a URL parser removes are refused, however they are spelled", () => {
    for (const segment of ["", ".", "..", "%2e", "%2E", "%2e%2E", ".%2e", "%2e."]) {
      expect(
        refusalOf(() => objectRefFromSegment("room", segment)),
        segment,
      ).toBe("bad_object_id");
    }
    expect(objectRefFromSegment("room", "...").id).toBe("...");
  });

  test("with lone surrogates are refused", () => {
    for (const id of ["\ud800", "a\udc00b", "\udc00\ud800"]) {
      expect(refusalOf(() => objectRef("room", id))).toBe("bad_object_id");
      expect(refusalOf(() => objectRefFromSegment("room", id))).toBe("bad_object_id");
    }
    expect(objectRef("room", "\u{1f30d}").key).toBe("room/%F0%9F%8C%8D");
  });

  test("with broken percent-encoding are refused", () => {
    for (const segment of ["%", "%2", "%zz", "100%", "%ff", "%c3", "%ed%a0%80", "%f5%80%80%80", "%c0%af"]) {
      expect(
        refusalOf(() => objectRefFromSegment("room", segment)),
        segment,
      ).toBe("bad_object_id");
    }
  });

  test("have 1 to 256 bytes once decoded, whatever the spelling", () => {
    expect(refusalOf(() => objectRef("room", "x".repeat(256)))).toBe("accepted");
    expect(refusalOf(() => objectRef("room", "x".repeat(257)))).toBe("bad_object_id");
    expect(refusalOf(() => objectRef("room", "é".repeat(128)))).toBe("accepted");
    expect(refusalOf(() => objectRef("room", "é".repeat(129)))).toBe("bad_object_id");
    expect(refusalOf(() => objectRefFromSegment("room", "%78".repeat(256)))).toBe("accepted");
    expect(refusalOf(() => objectRefFromSegment("room", "x".repeat(1_000_000)))).toBe("bad_object_id");
  });

  test("are decoded once: %252F is the id %2F", () => {
    expect(objectRefFromSegment("room", "%2F").id).toBe("/");
    expect(objectRefFromSegment("room", "%252F").id).toBe("%2F");
    expect(objectRefFromSegment("room", "a+b").id).toBe("a+b");
  });

  test("are compared by bytes: composed and decomposed letters are two objects", () => {
    expect(objectRef("room", "\u00e9").key).not.toBe(objectRef("room", "e\u0301").key);
  });
});

describe("keys", () => {
  test("two spellings of one id have one key", () => {
    fc.assert(
      fc.property(anySpelling, ({ id, spelling }) => {
        if (/^(\.|%2e){1,2}$/i.test(spelling)) return;
        expect(objectRefFromSegment("room", spelling)).toEqual(objectRef("room", id));
      }),
    );
  });

  test("two ids have two keys", () => {
    fc.assert(
      fc.property(anyId, anyId, (a, b) => {
        expect(objectRef("room", a).key === objectRef("room", b).key).toBe(a === b);
      }),
    );
  });

  test("survive a URL as they stand, and lead back to the same object", () => {
    fc.assert(
      fc.property(anyId, (id) => {
        const ref = objectRef("room", id);
        const { pathname, search, hash } = new URL(`http://host/${ref.key}`);
        expect({ pathname, search, hash }).toEqual({ pathname: `/${ref.key}`, search: "", hash: "" });
        const [, className = "", segment = ""] = pathname.split("/");
        expect(objectRefFromSegment(className, segment)).toEqual(ref);
      }),
    );
  });
});
