import type { SeededRandom } from "../support/seeded-random.ts";
import { adminToken } from "../support/admin-token.ts";
import { mutated, randomText } from "./mutation.ts";

/** What no well-behaved client sends over TCP: requests that are almost right, in every place where one can be wrong. */
export function httpBytes(random: SeededRandom): Uint8Array {
  const requests = Array.from({ length: random.isLucky(0.2) ? random.between(2, 20) : 1 }, () =>
    request(random),
  );
  const text = requests.join("");
  const bytes = Buffer.from(text, "latin1");
  const cut = random.isLucky(0.2) ? bytes.subarray(0, random.between(0, bytes.length)) : bytes;
  const changed = random.isLucky(0.4) ? mutated(random, new Uint8Array(cut), new Uint8Array(bytes)) : cut;
  return typeof changed === "string" ? Buffer.from(changed, "latin1") : changed;
}

const methods = [
  "GET",
  "POST",
  "PUT",
  "DELETE",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "TRACE",
  "CONNECT",
  "get",
  "PRI",
  "",
  "G\0T",
  "A".repeat(9000),
];
const versions = [
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/0.9",
  "HTTP/2.0",
  "HTTP/9.9",
  "http/1.1",
  "",
  "HTTP/1.1 HTTP/1.1",
];
const paths = [
  ...[
    "/probe/a",
    "/probe/a/x",
    "/probe/a/json",
    "/probe/a/form",
    "/probe/a/text",
    "/probe/a/stream",
    "/probe/a/live",
  ],
  ...[
    "/probe/a/-/topics/news",
    "/probe/a/-/topics/checked",
    "/-/health",
    "/-/metrics",
    "/-/alarms",
    "/-/link",
    "/-/connect",
  ],
  ...[
    "/-/objects/probe/a/state",
    "/-/objects/probe/a/storage?key=__proto__",
    "/-/explain/probe/a",
    "/-/client.js",
    "/-/",
    "*",
    "/",
  ],
  ...[
    "http://evil.example/probe/a",
    "//evil.example/probe/a",
    "/probe/../-/link",
    "/probe/%2e%2e/a",
    "/probe/a\\..\\b",
    "evil.example:443",
    "/probe/%ff",
  ],
];
const sizes = [
  "0",
  "1",
  "5",
  "-1",
  "+5",
  "5, 5",
  "0x5",
  "99999999999999999999999",
  "1e3",
  "",
  "4294967296",
  "100001",
];
const codings = [
  "chunked",
  "Chunked",
  "xchunked",
  "chunked, identity",
  "identity, chunked",
  "gzip, chunked",
  "",
  "chunked\t",
];
const chunkSizes = ["0", "5", "05", "5;ext=1", "ffffffffffffffffff", "-5", "g", "", "7fffffff", "0x5"];
const types = [
  "application/json",
  "text/plain",
  "multipart/form-data; boundary=b",
  "multipart/form-data",
  "application/x-www-form-urlencoded",
  "a/b",
  "",
  "application/msgpack",
];
const bodies = [
  ...[
    "hello",
    "{}",
    '{"__proto__":{"polluted":1}}',
    '{"a":1,"__keys__":1,"__proto__":1,"polluted":1}',
    "[".repeat(50_000),
    '{"text":"hi"}',
    "\xff\xfe",
  ],
  ...[
    '--b\r\nContent-Disposition: form-data; name="__proto__"\r\n\r\n1\r\n--b--\r\n',
    '--b\r\nContent-Disposition: form-data; name="f"; filename="../../x"\r\n\r\n',
    "a=1&__proto__=2&constructor.prototype.polluted=1",
  ],
];

function request(random: SeededRandom): string {
  const line = `${random.isLucky(0.8) ? random.pick(methods.slice(0, 5)) : random.pick(methods)} ${path(random)} ${random.pick(versions)}`;
  const end = random.isLucky(0.95) ? "\r\n" : random.pick(["\n", "\r", "\r\n ", ""]);
  const fields = [...(random.isLucky(0.95) ? ["Host: edge.example"] : []), ...oddFields(random)];
  return [line, ...fields, ""].join(end) + end + body(random, fields);
}

function path(random: SeededRandom): string {
  const chosen = random.pick(paths);
  if (random.isLucky(0.6)) return chosen;
  const more = Buffer.from(randomText(random)).toString("latin1");
  return random.pick([
    `${chosen}?${more}`,
    `${chosen}/${more}`,
    `${chosen}${more}`,
    `${chosen}${"/a".repeat(4000)}`,
    `/probe/${more}`,
  ]);
}

function oddFields(random: SeededRandom): string[] {
  const fields: string[] = [];
  for (let count = random.between(0, 4); count > 0; count -= 1) fields.push(...oddField(random));
  return fields;
}

function oddField(random: SeededRandom): string[] {
  switch (random.between(0, 11)) {
    case 0:
      return [`Content-Length: ${random.pick(sizes)}`];
    case 1:
      return [`Transfer-Encoding: ${random.pick(codings)}`];
    case 2:
      return [`Content-Type: ${random.pick(types)}`];
    case 3:
      return [`Content-Length: ${random.pick(sizes)}`, `Transfer-Encoding: ${random.pick(codings)}`];
    case 4:
      return [
        "Upgrade: websocket",
        "Connection: Upgrade",
        `Sec-WebSocket-Version: ${random.pick(["13", "8", ""])}`,
        `Sec-WebSocket-Key: ${random.pick(["dGhlIHNhbXBsZSBub25jZQ==", "x", ""])}`,
      ];
    case 5:
      return [
        `Host: ${random.pick(["evil.example", "", "a b", "[::1", "evil.example/probe/b?", "x".repeat(300)])}`,
      ];
    case 6:
      return ["Expect: 100-continue"];
    case 7:
      return [
        `${random.pick(["X-A", "__proto__", "constructor", "X A", "", ":", "X\0"])}: ${random.pick(["1", "", "\0", "\x7f", "a".repeat(20_000)])}`,
      ];
    case 8:
      return Array.from({ length: random.pick([10, 150, 3000]) }, (_, index) => `X-${index}: 1`);
    case 9:
      return [random.pick(["no colon", " folded", "X-A : 1", "\tX: 1", "X-A:1\r\n folded"])];
    case 10:
      return [
        `Accept: ${random.pick(["text/event-stream", "*/*", ""])}`,
        `Last-Event-ID: ${random.pick(["a.1", "\xff", "oldest"])}`,
      ];
    default:
      return [
        `Authorization: ${random.pick([`Bearer ${adminToken}`, "Bearer x", "StatefulLink e30.e30", "Basic", "Bearer "])}`,
        "Stateful-Link-Version: 1",
      ];
  }
}

function body(random: SeededRandom, fields: readonly string[]): string {
  if (random.isLucky(0.3)) return "";
  const content = random.pick(bodies);
  if (!fields.some((field) => /^transfer-encoding/i.test(field))) {
    return random.isLucky(0.5) || fields.some((field) => /^content-length/i.test(field)) ? content : "";
  }
  const chunks = Array.from(
    { length: random.between(1, 4) },
    () => `${random.pick(chunkSizes)}\r\nhello\r\n`,
  );
  return chunks.join("") + random.pick(["0\r\n\r\n", "0\r\nX-Trailer: 1\r\n\r\n", "", "0\r\n"]);
}
