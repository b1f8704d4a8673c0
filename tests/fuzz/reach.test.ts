import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { object } from "stateful-objects";
import { framedTopicName, nativeTopic } from "../../infra/edge/edge-socket.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { presenceTopic } from "../../infra/topics/topic-presence.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { ConnectClient } from "../support/connect-client.ts";
import { adminToken } from "../support/admin-token.ts";
import { type RawAnswer, rawRequest } from "../support/raw-client.ts";
import { SeededRandom, seedFrom } from "../support/seeded-random.ts";

/** What is meant for one object reaches that one, however it is spelled, by whomever and at whichever host. */
const seed = seedFrom("FUZZ_SEED");

const probe = object("probe", {
  placement: { regions: ["iad"] },
  durability: "storage",
  topics: { news: { subscribe: "anyone", publish: "clients" } },
})
  .get("/", ({ objectId }) => ({ reached: objectId }))
  .get("/whoami", ({ objectId }) => ({ reached: objectId }))
  .get("/deep/:x", ({ objectId, params }) => ({ reached: objectId, params: { ...params } }))
  .get("/:x", ({ objectId, params, query }) => ({
    reached: objectId,
    params: { ...params },
    query: { ...query },
  }))
  .post("/keep", ({ objectId, storage }) =>
    storage.putMany({
      mine: objectId,
      "%": objectId,
      [`\u{10ffff}${encodeURIComponent(objectId)}`]: objectId,
    }),
  )
  .post("/list", async ({ storage, body }) => {
    // Any range, and what is none.
    const range = body as object;
    return [...(await storage.list(range)).values()];
  });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [probe],
    regions: ["iad", "ams"],
    config: { adminToken, isDev: false },
  });
});
afterAll(() => cluster.stop());

const regions = ["iad", "ams"] as const;

/** Ids that could be taken for each other, or for a way out. */
const lookAlikes = [
  ...[
    "a",
    "A",
    "ａ",
    "а",
    "a ",
    "a+",
    "%61",
    "%2561",
    "a\0",
    "a\n",
    "a/",
    "a/b",
    "a%2Fb",
    "a%2fb",
    "a\\b",
    "a?b",
    "a#b",
    "a;b",
  ],
  ...[
    "\u00e9",
    "e\u0301",
    "../a",
    "..%2fa",
    "...",
    ".a",
    "-",
    "-/link",
    "__proto__",
    "constructor",
    "toString",
    "\u{1f600}",
    "\ufeffa",
  ],
];

/** The object that a raw path asks for, by RFC 3986 and the rules of the README; undefined where it is none. */
function meantBy(rawTarget: string): string | undefined {
  const url = URL.parse(`http://edge.example${rawTarget}`);
  const [, className, segment = ""] = (url?.href.slice(url.origin.length).split(/[?]/, 1)[0] ?? "").split(
    "/",
  );
  if (className !== "probe") return undefined;
  try {
    return objectRef("probe", decodeURIComponent(segment)).id;
  } catch {
    return undefined;
  }
}

const pieces = [
  ...[
    "/",
    "//",
    "/probe",
    "/a",
    "/b",
    "/whoami",
    "/deep",
    "/-/",
    "/-/link",
    "/-/objects",
    "/.",
    "/..",
    "/%2e%2e",
    "/%2E.",
    "\\",
    "%5c",
  ],
  ...[
    "%2f",
    "%2F",
    "%252f",
    "%00",
    "%0a",
    "%ff",
    "%c3%a9",
    "%",
    "%%",
    "?",
    "?id=b",
    "&id=b",
    "#",
    ";",
    ":",
    "@",
    "http://evil.example/probe/b",
  ],
];

function rawTarget(random: SeededRandom): string {
  const parts = Array.from({ length: random.between(0, 5) }, () => random.pick(pieces));
  return random.isLucky(0.8) ? `/probe/a${parts.join("")}` : `/${parts.join("")}`;
}

test(`E1 a path as odd as one likes reaches the object that it names, or none, at any host (FUZZ_SEED=${seed})`, async () => {
  const random = new SeededRandom(seed);
  let reached = 0;
  for (let count = 0; count < 150; count += 1) {
    const target = rawTarget(random);
    const path = target.split("?", 1)[0] ?? "";
    const ask = (region: string) => rawRequest(cluster.host(region).port, `GET ${target}`);
    const [here, there] = await Promise.all([ask("iad"), ask("ams")]);
    for (const answer of [here, there]) {
      const id = answer.body.startsWith('{"reached"') ? JSON.parse(answer.body).reached : undefined;
      if (id === undefined) continue;
      reached += 1;
      expect([target, id]).toEqual([target, meantBy(target) ?? `nobody, by ${path}`]);
    }
    // The owner's own edge goes shorter ways than the other: they must not differ.
    expect([target, said(there)]).toEqual([target, said(here)]);
  }
  expect(reached).toBeGreaterThan(10);
}, 60_000);

test.each([
  "/probe/a/%2e%2e",
  "/probe/a/deep/..",
  "/probe/a/deep/%2E",
  "/probe/a/x\\..\\y",
  "/probe/a/%ff",
  "/probe/a/%2E.#",
])("E1 %s is one address at every host, whoever owns the object", async (target) => {
  await rawRequest(cluster.host("iad").port, "GET /probe/a/whoami"); // it lives there
  const [here, there] = await Promise.all(
    regions.map((region) => rawRequest(cluster.host(region).port, `GET ${target}`)),
  );
  expect(here && said(here)).toEqual(there && said(there));
});

/** Of an error only its code: a host says in its own words what it cannot understand. */
function said({ status, body }: RawAnswer): unknown {
  const { code, ...more } = body.startsWith("{") ? JSON.parse(body) : { code: body };
  return code === undefined ? [status, more] : [status, code];
}

const ids = fc.oneof(
  fc.constantFrom(...lookAlikes),
  fc.string({ unit: "binary", minLength: 1, maxLength: 8 }),
);
const topics = fc.oneof(
  fc.constantFrom("a", "a\n", "\na", "\n", "a\nb", "\u0001", "news"),
  fc.string({ unit: "binary", minLength: 1, maxLength: 8 }).filter((topic) => !topic.startsWith("\0")),
);

test(`E1 T1 no two topics of any objects have one native name, in whatever form they are heard (FUZZ_SEED=${seed})`, () => {
  const names = (className: string, id: string, topic: string) => {
    const name = nativeTopic(objectRef(className, id).key, topic);
    const presence = nativeTopic(objectRef(className, id).key, presenceTopic(topic));
    return [name, framedTopicName(name), presence, framedTopicName(presence)];
  };
  const isId = (id: string) => {
    try {
      return objectRef("room", id).id === id;
    } catch {
      return false;
    }
  };
  const classes = fc.constantFrom("room", "roo", "room-a");
  const one = fc.tuple(classes, ids.filter(isId), topics);
  fc.assert(
    fc.property(one, one, (a, b) => {
      const all = [...names(...a), ...(Bun.deepEquals(a, b) ? [] : names(...b))];
      expect(new Set(all).size).toBe(all.length);
    }),
    { seed, numRuns: 3000 },
  );
});

describe.each([...regions])("E1 at %s, of objects whose ids look alike", (region) => {
  const url = (id: string, path: string) =>
    cluster.url(region, `/probe/${encodeURIComponent(`${region}${id}`)}${path}`);

  test("each has its own storage, whatever range is asked for", async () => {
    await Promise.all(lookAlikes.map((id) => fetch(url(id, "/keep"), { method: "POST" })));
    const ranges = [
      {},
      { prefix: "" },
      { prefix: "%" },
      { prefix: "\u{10ffff}" },
      { start: "\u0001" },
      { end: "\u{10ffff}\u{10ffff}" },
      { prefix: "mine", reverse: true },
    ];
    for (const id of lookAlikes) {
      for (const range of ranges) {
        const asked = {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(range),
        };
        const found: unknown = await (await fetch(url(id, "/list"), asked)).json();
        expect([id, range, new Set(found as string[])]).toEqual([id, range, new Set([`${region}${id}`])]); // a list of ids
      }
    }
  });

  test("each has its own topics", async () => {
    const client = await ConnectClient.open(cluster.socketUrl(region, ""));
    const keys = lookAlikes.map((id) => `probe/${encodeURIComponent(`${region}${id}`)}`);
    for (const key of keys) await client.subscribe(key, "news");
    await Promise.all(
      lookAlikes.map((id) =>
        fetch(url(id, "/-/topics/news"), {
          method: "POST",
          headers: { "content-type": "text/plain" },
          body: encodeURIComponent(id),
        }),
      ),
    );
    const last = client.ask(keys[0] ?? "", "nothing");
    await client.told("refused", last);
    const heard = await Promise.all(keys.map(async (key) => client.heard(key, "news")));
    expect(heard).toEqual(lookAlikes.map((id) => [encodeURIComponent(id)]));
    client.close();
  });
});

describe.each([...regions])("E1 E8 E12 at %s nothing that a client says beside its path", (region) => {
  const { stringify } = JSON;
  const fields: readonly (readonly [what: string, lines: readonly string[]])[] = [
    ["of a host", ["Host: evil.example/probe/b/whoami?x=", "X-Forwarded-Host: evil.example"]],
    [
      "of another host with a port",
      ["Host: evil.example:1", "X-Forwarded-Port: 1", "X-Forwarded-Proto: gopher"],
    ],
    [
      "of a way",
      [
        "Forwarded: for=1.2.3.4;host=evil.example",
        "X-Original-URL: /probe/b/whoami",
        "X-Rewrite-URL: /probe/b/whoami",
      ],
    ],
    ["of a method", ["X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"]],
    [
      "of the machinery",
      [
        "Stateful-System: 1",
        "X-Stateful-Owner: evil.example",
        "Stateful-Epoch: 99",
        "Stateful-Class: probe",
        "Stateful-Object: b",
      ],
    ],
    ["of a link", ["Stateful-Link-Version: 1", "Authorization: StatefulLink e30.e30"]],
    ["of an operator", [`Authorization: Bearer ${adminToken}`]],
    [
      "of names that all objects have",
      ["__proto__: 1", "constructor: 1", "Cookie: __proto__=1; constructor=2"],
    ],
    [
      "of a proxy",
      ["Via: 1.1 evil.example", "Fly-Replay-Src: instance=b", "Fly-Client-IP: 10.0.0.1", "Connection: Host"],
    ],
  ];

  test.each(fields)("leads elsewhere: %s", async (_, lines) => {
    const answer = await rawRequest(cluster.host(region).port, "GET /probe/a/whoami", lines);
    // A Host that is none is refused, where the URL has to be read.
    if (answer.status === 400) expect(lines[0]).toStartWith("Host: evil.example/");
    else expect([answer.status, answer.body]).toEqual([200, stringify({ reached: "a" })]);
  });

  test("nor does an absolute target: its path counts, and its host does not", async () => {
    const answer = await rawRequest(cluster.host(region).port, "GET http://evil.example/probe/a/whoami");
    expect([answer.status, answer.body]).toEqual([200, stringify({ reached: "a" })]);
  });

  test("and no name in a query or a path adds to what all objects inherit", async () => {
    const query = "__proto__=1&__proto__[polluted]=1&constructor.prototype.polluted=1&toString=1";
    const answer = await rawRequest(cluster.host(region).port, `GET /probe/a/__proto__?${query}`);
    expect(JSON.parse(answer.body)).toMatchObject({ reached: "a", params: { id: "a", x: "__proto__" } });
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});

test.each(["-", "--", "", "Probe", "-/link", "a/b", "__proto__", "é"])(
  "E1 no class is called %j, where the system's own addresses are, or another's",
  (name) => {
    expect(() => object(name)).toThrow();
  },
);
