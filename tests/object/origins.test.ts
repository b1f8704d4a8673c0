import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { object } from "stateful-objects";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type AllowedOrigin, Origins } from "../../infra/object/origins.ts";
import { seedFrom } from "../support/seeded-random.ts";

const seed = seedFrom("SEED");

/** Whether a page of this origin may connect to a host that its client calls by this address. */
function lets(
  allowed: readonly AllowedOrigin[],
  origin: string | null,
  url = "https://edge.example/room/a/live",
): boolean {
  try {
    new Origins("room", allowed).check({ url, headers: new Headers(origin === null ? {} : { origin }) });
    return true;
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(StatefulError);
    expect(thrown).toMatchObject({ code: "forbidden" });
    return false;
  }
}

test.each([
  [undefined, true],
  ["none", true],
  ["same-origin", true],
  ["same-site", false],
  ["cross-site", false],
])("O9 without an origin, of a page whose site is %s: %p", (site, isLetIn) => {
  const headers = new Headers(site === undefined ? {} : { "sec-fetch-site": site });
  const check = () =>
    new Origins("room", ["self"]).check({ url: "https://edge.example/room/a/-/topics/x", headers });
  if (isLetIn) check();
  else expect(check).toThrow("Pages of other hosts may not connect to room.");
});

describe("O9 an origin is let in", () => {
  const cases: [what: string, allowed: AllowedOrigin[], origin: string | null, isLetIn: boolean][] = [
    ["that is named", ["https://app.example"], "https://app.example", true],
    ["with its port", ["http://app.example:8080"], "http://app.example:8080", true],
    ["under another scheme: no", ["https://app.example"], "http://app.example", false],
    ["with another port: no", ["https://app.example"], "https://app.example:444", false],
    [
      "that begins with one that is named: no",
      ["https://app.example"],
      "https://app.example.evil.example",
      false,
    ],
    ["that ends with one: no", ["https://app.example"], "https://evil-app.example", false],
    ["where none is named: no", [], "https://app.example", false],
    ["that is not said: whoever is no browser", [], null, true],
    ["below a domain", ["https://*.app.example"], "https://a.b.app.example", true],
    ["that is the domain itself: no", ["https://*.app.example"], "https://app.example", false],
    [
      "that only looks as if below: no",
      ["https://*.app.example"],
      "https://evil.example/.app.example",
      false,
    ],
    ["… with a user's name: no", ["https://*.app.example"], "https://evil.example@x.app.example", false],
    ["… with a port in between: no", ["https://*.app.example"], "https://evil.example:1.app.example", false],
    ["… with no label: no", ["https://*.app.example"], "https://.app.example", false],
    ["that is the host's own", ["self"], "https://edge.example", true],
    ["that is another's: no", ["self"], "https://edge.example.evil.example", false],
    ["of no page where that is said", ["null"], "null", true],
    ["of no page: no", ["self", "https://app.example"], "null", false],
    ["of an app", ["capacitor://localhost"], "capacitor://localhost", true],
    ["twice: no", ["https://app.example"], "https://app.example, https://app.example", false],
    ["in another case: no browser writes so", ["https://app.example"], "https://APP.example", false],
  ];
  test.each(cases)("%s", (_, allowed, origin, isLetIn) => {
    expect(lets(allowed, origin)).toBe(isLetIn);
  });

  test("as the request's own host with its port, whatever scheme a proxy has made of it", () => {
    expect(lets(["self"], "http://localhost:4001", "http://localhost:4001/room/a")).toBe(true);
    expect(lets(["self"], "http://localhost:4002", "http://localhost:4001/room/a")).toBe(false);
    expect(lets(["self"], "https://edge.example", "http://edge.example/room/a")).toBe(true);
  });
});

test(`O9 whatever is sent as an origin, it is one that is named or refused, SEED=${seed}`, () => {
  const named: AllowedOrigin[] = ["self", "https://app.example", "https://*.wild.example"];
  const part = fc.constantFrom(
    "https://",
    "http://",
    "app.example",
    ".wild.example",
    "edge.example",
    "evil",
    ".",
    "@",
    "/",
    ":",
    "443",
    "null",
    "%2e",
    "\u3002",
    "ａ",
    " ",
    ",",
    "*",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const origin = parts.join("");
      let sent: string;
      try {
        sent = new Headers({ origin }).get("origin") ?? "";
      } catch {
        return; // No header can say that.
      }
      const isNamed =
        ["https://app.example", "https://edge.example", "http://edge.example"].includes(sent) ||
        /^https:\/\/([a-z0-9_-]+\.)+wild\.example$/.test(sent);
      expect(lets(named, sent)).toBe(isNamed);
    }),
    { seed, numRuns: 3000 },
  );
});

test.each([
  "app.example",
  "https://app.example/",
  "https://app.example:443",
  "https://APP.example",
  "https://*",
  "https://a.*.example",
  "*",
  "",
])("O9 a class that names what no browser sends is told so: %j", (origin) => {
  const origins = [origin] as unknown as AllowedOrigin[]; // the types refuse some of them
  expect(() => object("room", { origins })).toThrow(/object\("room"\): origins has/);
});
