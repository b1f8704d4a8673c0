import { afterAll, beforeAll, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { adminToken } from "../support/admin-token.ts";
import { moveObject } from "../support/move-object.ts";
import { EventClient } from "../support/event-client.ts";
import { SocketClient } from "../support/socket-client.ts";
import { until } from "../support/wait.ts";

const nameOf = (request: Request) => ({ name: new URL(request.url).searchParams.get("name") });

const hall = object("hall", {
  idleAfterMs: 1000,
  topics: {
    seats: { subscribe: "anyone", presence: { data: ({ request }) => nameOf(request) } },
    crowd: { subscribe: "anyone", presence: { membersMax: 2 } },
    plain: { subscribe: "anyone" },
  },
})
  .get("/who", ({ topics }) => topics.presence("seats"))
  .get("/nobody", ({ topics }) => topics.presence("plain"))
  .ws("/live", { open: (ws) => void ws.subscribe("seats"), message: (ws) => void ws.unsubscribe("seats") });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ classes: [hall], config: { adminToken } });
});
afterAll(() => cluster.stop());

interface Member {
  readonly id: string;
  readonly data?: { readonly name: string | null };
}

interface Told {
  readonly count: number;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  readonly left?: readonly string[];
}

/** A client that watches: the names of those who are there, as it is told. */
class Watcher {
  readonly events: EventClient;
  constructor(events: EventClient) {
    this.events = events;
  }
  static async open(region: string, id: string, name: string, topic = "seats"): Promise<Watcher> {
    const path = `/hall/${id}/-/topics/${topic}?presence=1&name=${name}`;
    return new Watcher(await EventClient.open(cluster.url(region, path)));
  }
  get told(): readonly Told[] {
    return this.events.all.filter(({ event }) => event === "presence").map(({ data }) => JSON.parse(data));
  }
  get names(): readonly string[] {
    const there = new Map<string, string>();
    for (const { members, joined, left } of this.told) {
      if (members) there.clear();
      for (const id of left ?? []) there.delete(id);
      for (const { id, data } of [...(members ?? []), ...(joined ?? [])]) there.set(id, String(data?.name));
    }
    return [...there.values()].sort();
  }
  close(): void {
    this.events.close();
  }
}

async function sees(watchers: readonly Watcher[], names: readonly string[], limitMs = 5000): Promise<void> {
  const all = [...names].sort().join();
  await until(
    `everyone sees ${all}`,
    () => watchers.every((watcher) => watcher.names.join() === all),
    limitMs,
  );
}

const move = (id: string, region: string) => moveObject(cluster, `hall/${id}`, region);

test("T7 who comes and who leaves is told to those who watch, at every edge", async () => {
  const ann = await Watcher.open("iad", "come", "ann");
  const bob = await Watcher.open("nrt", "come", "bob");
  await sees([ann, bob], ["ann", "bob"]);
  const socket = await SocketClient.open(cluster.socketUrl("ams", "/hall/come/live?name=cid"));
  await sees([ann, bob], ["ann", "bob", "cid"]);
  const { count, members } = await (await fetch(cluster.url("ams", "/hall/come/who"))).json();
  expect([count, members.map(({ data }: Member) => data?.name).sort()]).toEqual([3, ["ann", "bob", "cid"]]);
  socket.send("leave the topic");
  await sees([ann, bob], ["ann", "bob"]);
  bob.close();
  await sees([ann], ["ann"]);
  // Whoever does not ask is not told, and is there all the same.
  const quiet = await EventClient.open(cluster.url("ams", "/hall/come/-/topics/seats?name=quiet"));
  await sees([ann], ["ann", "quiet"]);
  expect(quiet.all.map(({ event }) => event)).toEqual(["subscribed"]);
  for (const client of [ann, quiet, socket]) client.close();
});

test("T7 it is the same after a move, and after a sleep; and who leaves meanwhile is missed", async () => {
  const watchers = [await Watcher.open("iad", "moved", "ann"), await Watcher.open("nrt", "moved", "bob")];
  const other = await Watcher.open("nrt", "moved", "cid");
  await sees([...watchers, other], ["ann", "bob", "cid"]);
  await move("moved", "nrt");
  await sees(watchers, ["ann", "bob", "cid"]);
  const owner = () => cluster.hosts.find(({ parts }) => parts.table.live("hall/moved"));
  await until("it sleeps", () => owner() === undefined);
  other.close();
  await sees(watchers, ["ann", "bob"]);
  for (const watcher of watchers) watcher.close();
});

test("T7 it is right again when an edge is lost, and when the owner is", async () => {
  const edge = await cluster.add("lhr");
  const id = "lost";
  const watchers = [await Watcher.open("iad", id, "ann"), await Watcher.open("nrt", id, "bob")];
  await Watcher.open("lhr", id, "gone");
  await sees(watchers, ["ann", "bob", "gone"]);
  await move(id, "ams");
  await edge.stop();
  await sees(watchers, ["ann", "bob"], 10_000);
  await cluster.host("ams").stop();
  const fresh = await Watcher.open("nrt", id, "fresh");
  await sees([...watchers, fresh], ["ann", "bob", "fresh"], 10_000);
  for (const watcher of [...watchers, fresh]) watcher.close();
  await cluster.add("ams");
});

test("T7 a large topic tells how many there are, and not who", async () => {
  const watchers: Watcher[] = [];
  for (let n = 0; n < 4; n++) watchers.push(await Watcher.open("iad", "crowd", `n${n}`, "crowd"));
  await until("they are told", () => watchers.every(({ told }) => told.at(-1)?.count === 4));
  for (const { told } of watchers) expect(told.at(-1)).toEqual({ count: 4 });
  watchers.pop()?.close();
  watchers.pop()?.close();
  await until("it lists them again", () => watchers.every(({ told }) => told.at(-1)?.members !== undefined));
  for (const watcher of watchers) watcher.close();
});

test("a topic without presence has none", async () => {
  const answer = await fetch(cluster.url("iad", "/hall/none/nobody"));
  expect([answer.status, (await answer.json()).code]).toEqual([400, "bad_request"]);
  const client = await EventClient.open(cluster.url("iad", "/hall/none/-/topics/plain?presence=1"));
  await until("it is subscribed", () => client.starts.length === 1);
  expect(client.all).toHaveLength(1);
  client.close();
});
