import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseObjectTarget, pathAndQuery, quickKey } from "../../infra/edge/object-target.ts";
import { type ErrorCode, StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";

const origin = "http://edge.example";

function codeOf(work: () => unknown): ErrorCode {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof StatefulError) return thrown.code;
    throw thrown;
  }
  throw new Error("It did not throw.");
}

test("the target is everything behind the origin, as the client wrote it", () => {
  expect(pathAndQuery(`${origin}/counter/a/x?by=2&by=%20`)).toBe("/counter/a/x?by=2&by=%20");
  expect(pathAndQuery(`${origin}:8080/`)).toBe("/");
  expect(pathAndQuery("http://[::1]:80/a")).toBe("/a");
});

test("a URL without an origin is what Bun makes of a bad Host header, and refused", () => {
  for (const url of ["/counter/a", "//evil/counter/a", "http://edge.example", "counter/a", ""]) {
    expect(codeOf(() => pathAndQuery(url))).toBe("bad_request");
  }
});

test("class and id are the first two segments, whatever follows", () => {
  for (const rest of ["", "/", "/x", "/x/y/", "?q", "?q=/z", "/x?q=/y/z", "//"]) {
    const { ref, target } = parseObjectTarget(`${origin}/room/lobby${rest}`);
    expect([ref.className, ref.id, ref.key, target]).toEqual([
      "room",
      "lobby",
      "room/lobby",
      `/room/lobby${rest}`,
    ]);
  }
});

test("an id is decoded once", () => {
  expect(parseObjectTarget(`${origin}/room/a%2Fb/x`).ref.id).toBe("a/b");
  expect(parseObjectTarget(`${origin}/room/a%252Fb`).ref.id).toBe("a%2Fb");
  expect(parseObjectTarget(`${origin}/room/a+b`).ref.id).toBe("a+b");
  expect(parseObjectTarget(`${origin}/room/a%3Fb?c`).ref.id).toBe("a?b");
  expect(parseObjectTarget(`${origin}/room/__proto__`).ref.key).toBe("room/__proto__");
});

describe("an address that names no object says why", () => {
  const cases: [string, ErrorCode][] = [
    ["/", "not_found"],
    ["/room", "not_found"],
    ["/room?x=/y", "not_found"],
    ["/room/", "bad_object_id"],
    ["/room//x", "bad_object_id"],
    ["/room/?x", "bad_object_id"],
    ["/room/%2e%2e/x", "bad_object_id"],
    ["/room/.", "bad_object_id"],
    ["/room/%ff", "bad_object_id"],
    ["/room/%C0%80", "bad_object_id"],
    ["/room/%ED%A0%80", "bad_object_id"],
    ["/room/%", "bad_object_id"],
    [`/room/${"a".repeat(257)}`, "bad_object_id"],
    [`/room/${"%C3%BC".repeat(129)}`, "bad_object_id"],
    ["/Room/a", "unknown_class"],
    ["//a/b", "unknown_class"],
    ["/%72oom/a", "unknown_class"],
    [`/${"r".repeat(64)}/a`, "unknown_class"],
    ["/__proto__/a", "unknown_class"],
  ];
  test.each(cases)("%s", (target, code) => {
    expect(codeOf(() => parseObjectTarget(origin + target))).toBe(code);
  });
});

test("the longest id is 256 bytes", () => {
  expect(parseObjectTarget(`${origin}/room/${"a".repeat(256)}`).ref.id.length).toBe(256);
  expect(parseObjectTarget(`${origin}/room/${"%C3%BC".repeat(128)}`).ref.id.length).toBe(128);
});

test("the quick key of a canonical address is the object's key", () => {
  for (const rest of ["", "/", "/x", "?q=/z", "/x?q"]) {
    expect(quickKey(`/room/lobby${rest}`)).toBe("room/lobby");
    expect(quickKey(`/room/a%2Fb${rest}`)).toBe("room/a%2Fb");
  }
  expect(quickKey("/room")).toBeUndefined();
});

test("a quick key that is some object's key is the key of the object that the address names", () => {
  const segment = fc.string({ unit: fc.constantFrom("a", ".", "%", "2", "F", "f", "/", "?", "é", "+", "!") });
  const spellings = (id: string) => [
    id,
    encodeURI(id),
    encodeURIComponent(id),
    encodeURIComponent(id).toLowerCase(),
  ];
  let met = 0;
  fc.assert(
    fc.property(segment, fc.nat({ max: 3 }), (id, spelling) => {
      const key = quickKey(`/room/${spellings(id)[spelling]}`);
      let owner: string;
      try {
        owner = objectRef("room", id).key;
      } catch {
        return; // No object has this id.
      }
      if (key !== owner) return;
      met++;
      expect(parseObjectTarget(`${origin}/room/${spellings(id)[spelling]}`).ref.key).toBe(owner);
    }),
    { numRuns: 2_000 },
  );
  expect(met).toBeGreaterThan(100);
});

test("whatever is asked for, it is an object or an error of ours", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      try {
        const { ref } = parseObjectTarget(`${origin}/room/${text}`);
        expect(objectRef(ref.className, ref.id)).toEqual(ref);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(StatefulError);
      }
    }),
  );
});
