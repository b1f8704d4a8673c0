import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AddressLimits, addressFromHeader, countedAddress } from "../../infra/edge/address-limits.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { seedFrom } from "../support/seeded-random.ts";

const seed = seedFrom("SEED");

describe("E33 what is counted as one address", () => {
  test.each([
    ["203.0.113.7", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::1", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
    ["2001:db8::", "2001:db8:0:0::/64"],
    ["::ffff:cb00:7107", "203.0.113.7"],
    ["0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"],
    ["203.0.113.7:50123", "203.0.113.7"],
    ["[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"],
    ["[2001:db8:1:2::1]", "2001:db8:1:2::/64"],
    ["[::ffff:203.0.113.7]:443", "203.0.113.7"],
    ["64:ff9b::203.0.113.7", "64:ff9b:0:0::/64"],
    ["::ffff:1.2.3.256", "::ffff:1.2.3.256"],
    ["unknown", "unknown"],
    ["1::2::3", "1::2::3"],
  ])("%s", (address, counted) => {
    expect(countedAddress(address)).toBe(counted);
  });

  test.each([
    ...["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""],
    ...["::ffff:7f00:1", "0:0:0:0:0:ffff:a01:203", "127.0.0.1:80", "[::1]:80", "10.1.2.3:80"],
    ...[
      "10.1.2.3",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
      "169.254.1.1",
      "100.64.0.1",
      "100.127.0.1",
    ],
    ...["fdaa:0:1::3", "fc00::1", "fe80::1%eth0"],
  ])("and not at all: %p", (address) => {
    expect(countedAddress(address)).toBeUndefined();
  });

  test.each([
    "172.15.0.1",
    "172.32.0.1",
    "100.63.0.1",
    "100.128.0.1",
    "192.167.0.1",
    "11.0.0.1",
    "128.0.0.1",
  ])("the neighbours of those are: %s", (address) => expect(countedAddress(address)).toBe(address));

  test(`whatever stands for an address, it is a short name or nothing, SEED=${seed}`, () => {
    const piece = fc.constantFrom(
      ":",
      "::",
      ".",
      "ffff",
      "0",
      "255",
      "2001",
      "fe80",
      "%",
      " ",
      ",",
      "[",
      "é",
      "\0",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const counted = countedAddress(pieces.join(""));
        expect(counted === undefined || (counted.length > 0 && counted.length <= 64)).toBe(true);
      }),
      { seed, numRuns: 2000 },
    );
  });
});

test("E33 of what a proxy and its client have said, the proxy's word counts: it comes last", () => {
  expect(addressFromHeader("203.0.113.7")).toBe("203.0.113.7");
  expect(addressFromHeader("10.0.0.1, 127.0.0.1 , 203.0.113.7")).toBe("203.0.113.7");
});

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(StatefulError);
    return (thrown as StatefulError).code; // just checked
  }
}

test(`E33 the counts are those of a plain list, and nothing is left when all is closed, SEED=${seed}`, () => {
  const step = fc.tuple(
    fc.constantFrom("203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"),
    fc.nat(5),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const limits = new AddressLimits({ socketsMax: 3, requestsMax: 0 });
      const open: { readonly key: string | undefined; readonly leave: () => void }[] = [];
      for (const [address, choice] of steps) {
        const key = countedAddress(address);
        const count = open.filter((each) => each.key === key).length;
        if (choice === 0) {
          const [left] = open.splice(0, 1);
          left?.leave();
          left?.leave(); // A second time gives nothing back.
        } else if (count === 3) expect(codeOf(() => limits.socket(address))).toBe("address_limit");
        else open.push({ key, leave: limits.socket(address) });
        expect(limits.size).toBe(new Set(open.map((each) => each.key)).size);
      }
      for (const { leave } of open) leave();
      expect(limits.size).toBe(0);
    }),
    { seed, numRuns: 300 },
  );
});

test("E33 one address has no more requests than its limit, those included that were not looked at", () => {
  const limits = new AddressLimits({ socketsMax: 0, requestsMax: 9 });
  expect(limits.requestsUncounted).toBe(4);
  for (let count = 0; count < 5; count += 1) limits.request("203.0.113.1");
  expect(codeOf(() => limits.request("203.0.113.1"))).toBe("address_limit");
  expect(codeOf(() => limits.request("203.0.113.2"))).toBeUndefined();
  expect(codeOf(() => limits.socket("203.0.113.1"))).toBeUndefined();
  expect(limits.refused).toBe(1);
});

test("E33 without limits nobody is counted", () => {
  const limits = new AddressLimits({ socketsMax: 0, requestsMax: 0 });
  expect(limits.requestsUncounted).toBe(Number.POSITIVE_INFINITY);
  for (let count = 0; count < 5000; count += 1) limits.socket("203.0.113.1");
  expect(limits.size).toBe(0);
});

test("E33 an address is counted once among those with something open", () => {
  const limits = new AddressLimits({ socketsMax: 9, requestsMax: 9 });
  const both = "203.0.113.1";
  limits.socket(both);
  limits.request(both);
  limits.socket("203.0.113.2");
  limits.request("203.0.113.3");
  expect(limits.size).toBe(3);
});
