import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { object } from "stateful-objects";
import { devAdminToken } from "../../apps/server/index.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { freePort } from "../support/sqld.ts";

const root = join(import.meta.dir, "../..");

const shelf = object("shelf", {
  state: () => ({ visits: 0, names: new Map([["ann", 1]]) }),
  onAlarm() {
    // Nothing to do: the tests look at alarms that wait.
  },
})
  .get("/", ({ state }) => ++state.visits)
  .get("/value/:key", async ({ storage, params }) => ({ value: await storage.get(params.key) }))
  .post("/fill", async ({ storage }) => {
    await storage.putMany({
      "b/1": { deep: [1, { x: new Set([1n]) }] },
      "b/2": "x".repeat(50_000),
      "c\n": new Date(0),
      a: new Uint8Array(3),
    });
  })
  .post("/alarms", ({ alarms }) => {
    alarms.set("once", { afterMs: 600_000 }, { for: "ann" });
    alarms.set("nightly", { cron: "0 3 * * *" });
    alarms.set("often", { every: 90_000, startAt: Date.now() + 3_600_000 });
  });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    classes: [shelf],
    regions: ["iad", "ams"],
    config: { adminToken: devAdminToken },
  });
});
afterAll(() => cluster?.stop());

interface Run {
  readonly out: string;
  readonly err: string;
  readonly exitCode: number;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const { STATEFUL_ADMIN_TOKEN: _, STATEFUL_URL: __, ...inherited } = process.env;
  const spawned = Bun.spawn([process.execPath, "apps/cli/storage.ts", ...args], {
    cwd: root,
    env: { ...inherited, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(spawned.stdout).text(),
    new Response(spawned.stderr).text(),
  ]);
  return { out, err, exitCode: await spawned.exited };
}

const storage = (...args: string[]) => run(args, { STATEFUL_URL: cluster.url("iad", "") });
const done = (out: string) => ({ out, err: "", exitCode: 0 });
const post = (path: string) => fetch(cluster.url("ams", path), { method: "POST" });

describe("the commands", () => {
  test("put, get, delete, through the live object of another host", async () => {
    await fetch(cluster.url("ams", "/shelf/own"));
    expect(await storage("put", "shelf/own", "k", '{"a":[1,null,"x"]}')).toEqual(
      done('shelf/own has stored "k".\n'),
    );
    expect(await (await fetch(cluster.url("ams", "/shelf/own/value/k"))).json()).toEqual({
      value: { a: [1, null, "x"] },
    });
    expect(cluster.host("iad").parts.table.live("shelf/own")).toBeUndefined();
    const got = await storage("get", "shelf/own", "k");
    expect(got.out.replaceAll(/\s+/g, " ")).toBe('{ a: [ 1, null, "x" ], } ');
    expect(await storage("get", "shelf/own", "k", "--json")).toEqual(done('{"a":[1,null,"x"]}\n'));
    expect(await storage("delete", "shelf/own", "k")).toEqual(done('shelf/own has deleted "k".\n'));
    expect(await storage("delete", "shelf/own", "k")).toEqual(done('shelf/own has nothing under "k".\n'));
    expect(await storage("delete", "shelf/own", "k", "--json")).toEqual(done('{"deleted":false}\n'));
    expect(await storage("get", "shelf/own", "k")).toEqual({
      out: "",
      err: 'shelf/own has nothing under "k".\n',
      exitCode: 1,
    });
  });

  test("get without a key is the state", async () => {
    await fetch(cluster.url("iad", "/shelf/state"));
    const { out } = await storage("get", "shelf/state");
    expect(out.replaceAll(/\s+/g, " ")).toBe('{ visits: 1, names: Map(1) { "ann": 1, }, } ');
    expect(await storage("get", "shelf/state", "--json")).toEqual(
      done('{"visits":1,"names":{"Map":[["ann",1]]}}\n'),
    );
  });

  test("list is aligned, cut, in order, and says where it goes on", async () => {
    await post("/shelf/list/fill");
    const { out, err } = await storage("list", "shelf/list");
    const lines = out.trimEnd().split("\n");
    expect(lines.map((line) => line.replaceAll(/ +/g, " ").slice(0, 40))).toEqual([
      "key size value",
      "a 7 B Uint8Array(3) [ 0, 0, 0 ]",
      expect.stringMatching(/^b\/1 \d+ B \{ deep: \[ 1, \{ x: Set\(1\) \{ 1n \}/),
      `b/2 50 kB "${"x".repeat(29)}`,
      "c\\n 6 B 1970-01-01T00:00:00.000Z",
    ]);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(110);
    expect(new Set(lines.map((line) => line.search(/(?<=B|size) {2}/))).size).toBe(1);
    expect(err).toBe("");
    const keys = async (...args: string[]) => {
      const { out } = await storage("list", "shelf/list", "--json", ...args);
      return JSON.parse(out).map(([key]: [string]) => key);
    };
    expect(await keys("--prefix", "b/")).toEqual(["b/1", "b/2"]);
    expect(await keys("--start", "b/2", "--end", "c")).toEqual(["b/2"]);
    expect(await keys("--reverse", "--limit", "2")).toEqual(["c\n", "b/2"]);
    const first = await storage("list", "shelf/list", "--limit", "1");
    expect(first.err).toBe('There are more: go on with --start "a", or raise --limit.\n');
    expect(await storage("list", "shelf/list", "--prefix", "zz")).toEqual(
      done("shelf/list has no such keys.\n"),
    );
  });

  test("a large value is cut with its size, and whole as JSON", async () => {
    await post("/shelf/large/fill");
    const { out } = await storage("get", "shelf/large", "b/2");
    expect(out.length).toBeLessThan(17_000);
    expect(out).toEndWith("(50 kB stored, cut here; --json has all of it)\n");
    expect(JSON.parse((await storage("get", "shelf/large", "b/2", "--json")).out)).toBe("x".repeat(50_000));
  });

  test("alarms, of one object and of all", async () => {
    await post("/shelf/alarms/alarms");
    const one = await storage("alarms", "shelf/alarms");
    expect(one.exitCode).toBe(0);
    expect(one.out).toMatch(/^alarm +due +at +attempts +recurs +last error\nonce +in 10 min +20\S+Z +0\n/);
    expect(one.out).toMatch(/\nnightly +in \d+ (?:min|h|s) +\S+ +0 +0 3 \* \* \* \(UTC\)\n/);
    expect(one.out).toMatch(/\noften +in 60 min +\S+ +0 +every 90 s\n/);
    const all = await storage("alarms");
    expect(all.out).toMatch(/^object +alarm +due/);
    expect(all.out).toContain("shelf/alarms  once");
    expect(await storage("alarms", "--parked")).toEqual(done("There are no parked alarms.\n"));
    const [first] = JSON.parse((await storage("alarms", "shelf/alarms", "--json")).out);
    expect(first).toMatchObject({ name: "once", payload: { for: "ann" }, isParked: false, recurs: null });
    const retry = await storage("retry", "shelf/alarms", "once");
    expect(retry).toMatchObject({ err: "", exitCode: 1 });
    expect(retry.out).toContain("is not parked");
    expect(await storage("retry", "shelf/alarms", "none")).toMatchObject({
      err: 'shelf/alarms has no alarm "none".\n',
      exitCode: 1,
    });
  });

  test("ids are written as in addresses, keys as they are", async () => {
    expect((await storage("put", "shelf/a%20%C3%BC", "--", "-key with blanks", '"v"')).exitCode).toBe(0);
    expect(
      await (await fetch(cluster.url("iad", "/shelf/a%20%C3%BC/value/-key%20with%20blanks"))).json(),
    ).toEqual({ value: "v" });
  });

  test("--url and --token go before the environment", async () => {
    const args = [
      "get",
      "shelf/options",
      "--json",
      "--url",
      cluster.url("iad", "/ignored"),
      "--token",
      devAdminToken,
    ];
    const env = { STATEFUL_URL: "http://localhost:1", STATEFUL_ADMIN_TOKEN: "another-token-of-tests" };
    expect((await run(args, env)).exitCode).toBe(0);
  });
});

describe("what goes wrong is said, with what to do", () => {
  test("no host", async () => {
    const url = `http://localhost:${await freePort()}`;
    const { out, err, exitCode } = await run(["get", "shelf/a", "--url", url]);
    expect({ out, exitCode }).toEqual({ out: "", exitCode: 1 });
    expect(err).toBe(
      `No host answers at ${url}. Start one with "bun run dev", or name one with --url or STATEFUL_URL.\n`,
    );
  });

  test("a wrong token, and one that cannot be sent", async () => {
    const { err, exitCode } = await storage("get", "shelf/a", "--token", "wrong");
    expect(exitCode).toBe(1);
    expect(err).toContain("--token or STATEFUL_ADMIN_TOKEN");
    expect(err).not.toContain("wrong");
    const unsendable = await storage("get", "shelf/a", "--token", "wrong\nhost: x");
    expect(unsendable.exitCode).toBe(1);
    expect(unsendable.err).toContain("STATEFUL_ADMIN_TOKEN");
  });

  test("a host without a token", async () => {
    const shut = await startCluster({
      classes: [shelf],
      regions: ["iad"],
      config: { adminToken: undefined },
    });
    try {
      const { err, exitCode } = await run(["get", "shelf/a", "--url", shut.url("iad", "")]);
      expect(exitCode).toBe(1);
      expect(err).toContain("Start it with STATEFUL_ADMIN_TOKEN=");
    } finally {
      await shut.stop();
    }
  });

  test("an unknown class", async () => {
    expect(await storage("get", "shelve/a")).toEqual({
      out: "",
      err: 'No host runs a class "shelve". Classes are the files in objects/.\n',
      exitCode: 1,
    });
  });

  test("something else that answers there", async () => {
    const other = Bun.serve({
      port: 0,
      fetch: () => new Response("<h1>It works</h1>", { headers: { "content-type": "text/html" } }),
    });
    const angry = Bun.serve({ port: 0, fetch: () => new Response("no", { status: 500 }) });
    try {
      for (const { port } of [other, angry]) {
        const { err, exitCode } = await run(["list", "shelf/a", "--url", `http://localhost:${port}`]);
        expect(exitCode).toBe(1);
        expect(err).toContain("but not as a host of this version does. See --url");
      }
    } finally {
      await Promise.all([other.stop(true), angry.stop(true)]);
    }
  });

  test("a value that is too large", async () => {
    const big = JSON.stringify("x".repeat(100_000));
    const small = object("small", { limits: { valueBytesMax: 1000 } }).get("/", () => "");
    const own = await startCluster({
      classes: [small],
      regions: ["iad"],
      config: { adminToken: devAdminToken },
    });
    try {
      const { err, exitCode } = await run(["put", "small/a", "k", big, "--url", own.url("iad", "")]);
      expect(exitCode).toBe(1);
      expect(err).toContain("the limit is 1000");
    } finally {
      await own.stop();
    }
  });

  const wrong: readonly (readonly [string[], string])[] = [
    [["fetch"], 'There is no command "fetch"'],
    [["get"], "storage get <class>/<id> [key]"],
    [["get", "shelf"], '"shelf" is no object'],
    [["get", "shelf/"], '"shelf/" is no object'],
    [["get", "Shelf/a"], '"Shelf/a" is no object'],
    [["get", "shelf/%zz"], '"shelf/%zz" is no object'],
    [["get", "shelf/a", "b", "c"], "too much"],
    [["get", "shelf/a", ""], "one character or more"],
    [["put", "shelf/a", "k"], "storage put <class>/<id> <key> <json>"],
    [["put", "shelf/a", "k", "hello"], "hello is not JSON"],
    [["put", "shelf/a", "k", "{a:1}"], "is not JSON"],
    [["list", "shelf/a", "--limit", "none"], '--limit is "none"'],
    [["list", "shelf/a", "--prefix"], "--prefix"],
    [["get", "shelf/a", "--prefix", "p"], '--prefix belongs to "list"'],
    [["list", "shelf/a", "--parked"], '--parked belongs to "alarms"'],
    [["get", "shelf/a", "--colour"], "--colour"],
    [["get", "shelf/a", "--url", "localhost:4001"], "--url is"],
  ];
  test.each(wrong)("%j is a wrong command line: exit code 2", async (args, said) => {
    const { out, err, exitCode } = await storage(...args);
    expect({ out, exitCode }).toEqual({ out: "", exitCode: 2 });
    expect(err).toContain(said);
    expect(err).toEndWith("What may be given: bun run storage --help\n");
  });
});

test("the help names every command, option, and what the exit codes mean", async () => {
  for (const args of [["--help"], ["-h"], [], ["help"], ["get", "--help"]]) {
    const { out, err, exitCode } = await storage(...args);
    expect({ err, exitCode }).toEqual({ err: "", exitCode: 0 });
    for (const word of [
      "get",
      "list",
      "put",
      "delete",
      "alarms",
      "retry",
      "--url",
      "--token",
      "--json",
      "--parked",
      "Exit codes",
    ])
      expect(out).toContain(word);
  }
});
