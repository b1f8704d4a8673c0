import { afterAll, beforeAll, expect, test } from "bun:test";
import { entriesMax, type HostProcess } from "../support/host-process.ts";
import { RawClient } from "../support/raw-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";
import { Stage } from "./stage.ts";
import { told } from "./vault-objects/vault.ts";

/** All that must never leave: each is to be found nowhere but in a host's environment, or in a client's request. */
const secrets = {
  cluster: "cluster-secret-zXq81LmVw0",
  previous: "cluster-secret-of-before-7Hd2",
  admin: "admin-token-Kp93nBv6Rt",
  directory: "directory-token-Yw55sGh1Ue",
  inUrl: "directory-url-token-Jm40cFa8Di",
  authorization: "client-bearer-Oa26tXe3Nf",
  cookie: "client-cookie-Vb17rZi9Sk",
  query: "client-query-token-Lc62yPu4Gq",
};

let stage: Stage;
let owner: HostProcess;
let edge: HostProcess;
beforeAll(async () => {
  stage = await Stage.open();
  const options = {
    objectsFolder: "tests/e2e/vault-objects",
    directoryUrl: `${stage.sqld.httpUrl}?authToken=${secrets.inUrl}`,
    leaseTtlMs: 3_000,
    env: {
      CLUSTER_SECRET: `${secrets.cluster},${secrets.previous}`,
      STATEFUL_ADMIN_TOKEN: secrets.admin,
      LIBSQL_AUTH_TOKEN: secrets.directory,
      STATEFUL_LOG: "debug",
    },
  };
  [owner, edge] = await Promise.all([stage.host("iad", options), stage.host("ams", options)]);
});
afterAll(() => stage.close());

interface Said {
  readonly asked: string;
  readonly status: number;
  readonly text: string;
}

const limitMs = 15_000;

async function ask(host: HostProcess, asked: string, init: RequestInit = {}): Promise<Said> {
  const [method = "", path = ""] = asked.split(" ");
  const headers = new Headers(init.headers);
  if (!headers.has("authorization")) headers.set("authorization", `Bearer ${secrets.authorization}`);
  headers.set("cookie", `session=${secrets.cookie}`);
  const url = host.url(`${path}${path.includes("?") ? "&" : "?"}token=${secrets.query}`);
  const response = await fetch(url, { ...init, method, headers, signal: AbortSignal.timeout(limitMs) });
  const fields = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  return { asked, status: response.status, text: [...fields, await response.text()].join("\n") };
}

const asAdmin = { headers: { authorization: `Bearer ${secrets.admin}` } };
const json = { "content-type": "application/json" };

/** Everything that can be refused or fail, at this edge, for an object. */
function battery(host: HostProcess, id: string): Promise<Said[]> {
  const vault = `/vault/${id}`;
  const failing = [
    "thrown",
    "caused",
    "rejected",
    "ours",
    "unclonable",
    "large",
    "answered",
    "called",
    "cold",
    "nothing",
  ];
  const system = [
    "/-/nothing",
    `/-/explain${vault}`,
    "/-/explain/nobody/a",
    "/-/metrics",
    "/-/alarms",
    "/-/link",
    "/-/connect",
    "/-/objects/",
  ];
  return Promise.all([
    ...failing.map((path) => ask(host, `GET ${vault}/${path}`)),
    ...system.map((path) => ask(host, `GET ${path}`)),
    ask(host, "GET /vault/sealed"),
    ask(host, `GET ${vault}/live`),
    ask(host, `GET ${vault}/-/topics/inner`),
    ask(host, "GET /nobody/a"),
    ask(host, "GET /vault/%ff"),
    ask(host, "GET /-/link", {
      headers: { "stateful-link-version": "1", authorization: `StatefulLink ${btoa("{}")}.x` },
    }),
    ask(host, `POST ${vault}/checked`, { body: '{"number":"', headers: json }),
    ask(host, `POST ${vault}/checked`, { body: '{"number":"x"}', headers: json }),
    ask(host, `POST ${vault}/checked`, { body: "x".repeat(2000), headers: json }),
    ask(host, `POST ${vault}/-/topics/news`, { body: '{"text":1}', headers: json }),
    ask(host, `GET /-/objects${vault}/state`, asAdmin),
    ask(host, `GET /-/objects${vault}/nothing`, asAdmin),
    ask(host, `PUT /-/objects${vault}/storage?key=a`, { ...asAdmin, body: "\xc1" }),
    ask(host, `POST /-/objects${vault}/move`, { ...asAdmin, body: '{"region":"nowhere"}' }),
    ask(host, "GET /-/alarms?limit=x", asAdmin),
  ]);
}

/** What of the inside shows in a text; undefined where nothing does. */
function shownIn(text: string): string | undefined {
  const inside: [string, RegExp][] = [
    ["a stack trace", /\bat (?:async )?[\w.<>#]+ \(|\bat [^\s]+:\d+:\d+/],
    ["a file", /\/(?:infra|apps|node_modules|tests|srv|tmp)\/|\.tsx?\b/],
    ["SQL", /\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM)\b|SQLITE|hrana/i],
    ["an address", /\b(?:127|10)\.\d+\.\d+\.\d+|\blocalhost\b|\[?::1\]?:\d/],
    ["a port of the inside", new RegExp(`\\b(?:${[stage.sqld.port, owner.port, edge.port].join("|")})\\b`)],
    ["what the author's error said", new RegExp(told.slice(0, 20))],
    ...Object.entries(secrets).map(([name, secret]): [string, RegExp] => [
      `the secret "${name}"`,
      new RegExp(secret),
    ]),
  ];
  return inside.find(([, pattern]) => pattern.test(text))?.[0];
}

/** Names of processes, as they stand in the hosts' logs. */
function sessions(): string[] {
  const opened = [...owner.entries, ...edge.entries].filter(({ event }) => event === "session.opened");
  return opened.map(({ session }) => String(session).split(".")[0] ?? "");
}

function expectNothingInside(answers: readonly Said[]): void {
  const names = sessions();
  expect(names.length).toBeGreaterThanOrEqual(2);
  const shown = answers.flatMap(({ asked, status, text }) => {
    const what = names.some((name) => text.includes(name)) ? "a session" : shownIn(text);
    return what === undefined ? [] : [`${asked} (${status}) shows ${what}:\n${text}`];
  });
  expect(shown).toEqual([]);
}

/** Everything that the hosts have put out. */
function logged(): string {
  return [owner, edge].map((host) => `${JSON.stringify(host.entries)}\n${host.complaints}`).join("\n");
}

/** Names of the secrets that a text holds. */
function secretsIn(text: string): string[] {
  return Object.entries(secrets).flatMap(([name, secret]) => (text.includes(secret) ? [name] : []));
}

function expectNoSecretLogged(): void {
  expect(secretsIn(logged())).toEqual([]);
  // Of a longer log the beginning would be forgotten, and not looked at.
  for (const host of [owner, edge]) expect(host.entries.length).toBeLessThan(entriesMax);
}

test("E10 O3 no answer shows a stack, a file, SQL, an address or a secret, and no secret is in the logs", async () => {
  await until("the object has its owner", async () =>
    (await ask(owner, "GET /vault/a")).text.includes(owner.id),
  );
  const answers = [...(await battery(owner, "a")), ...(await battery(edge, "a"))];
  expect(new Set(answers.map(({ status }) => status))).toEqual(
    new Set([200, 400, 401, 403, 404, 413, 422, 426, 500, 503]),
  );
  expectNothingInside(answers);

  const client = await SocketClient.open(edge.socketUrl(`/vault/a/live?token=${secrets.query}`), {
    headers: { authorization: `Bearer ${secrets.authorization}`, cookie: `session=${secrets.cookie}` },
  });
  client.send("fail");
  await until("the handler's failure is logged", () => logged().includes("handler.failed"));
  expectNothingInside([
    { asked: "a socket", status: 0, text: `${client.heard.join("\n")} ${client.closing ?? ""}` },
  ]);
  client.close();

  // A request that is no HTTP is answered by Bun itself.
  const raw = await RawClient.connect(edge.port);
  raw.socket.write(`GET /vault/a HTTP/9.9\r\nauthorization: ${secrets.authorization}\r\n\r\n`);
  await until("it is answered or cut off", () => raw.received !== "" || raw.isClosed);
  expectNothingInside([{ asked: "no HTTP", status: 0, text: raw.received }]);
  raw.close();
  expectNoSecretLogged();
});

test("E10 nor while the owner is out of reach, and while the directory is", async () => {
  owner.freeze();
  const lost = await until("its lease is over, or nearly", async () => {
    const said = await ask(edge, "GET /vault/a");
    return said.status >= 500 ? said : undefined;
  });
  const frozen = [lost, ...(await battery(edge, "a"))];
  owner.thaw();
  await stage.sqld.kill();
  const missed = await Promise.all([
    ...["/vault/a/cold", "/vault/new"].map((path) => ask(owner, `GET ${path}`)),
    ask(owner, "GET /-/alarms", asAdmin),
  ]);
  const refused = await until("the directory is missed", async () => {
    const said = await ask(edge, "GET /vault/new");
    return said.text.includes("directory_unavailable") || said.text.includes("session_over")
      ? said
      : undefined;
  });
  const away = [...missed, refused, ...(await battery(edge, "b")), ...(await battery(owner, "a"))];
  await stage.sqld.run();
  await until("it serves again", async () => (await ask(edge, "GET /vault/new")).status === 200, 30_000);
  expect(missed.map(({ text }) => text).join()).toContain("directory_unavailable");
  expectNothingInside([...frozen, ...away]);
  expect(logged()).toContain("session.renewal_failed");
  expectNoSecretLogged();
}, 120_000);

// The last, because the log holds the secrets from here on.
test("a log that does hold secrets, and a text that shows the inside, are found by the same looks", async () => {
  const said = await ask(owner, "GET /vault/control/careless", asAdmin);
  await until(
    "its host has logged all of them",
    () => secretsIn(logged()).length === Object.keys(secrets).length - 1,
  );
  // The request had the operator's token instead of the client's.
  expect(secretsIn(logged())).not.toContain("authorization");
  await ask(owner, "GET /vault/control/careless");
  await until("and that one", () => secretsIn(logged()).includes("authorization"));
  expectNothingInside([said]);

  const texts = ["at f (a:1:1)", "/infra/x", "a.ts", "SELECT 1", "127.0.0.1", `:${edge.port}`, told];
  for (const text of [...texts, ...Object.values(secrets)])
    expect([text, shownIn(text)]).not.toEqual([text, undefined]);
  expect(shownIn("unknown_class: there is no such class")).toBeUndefined();
});
