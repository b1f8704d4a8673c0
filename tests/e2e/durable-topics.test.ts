import { afterEach, beforeEach, expect, test } from "bun:test";
import { EventClient, type ServerSentEvent } from "../support/event-client.ts";
import type { HostProcess } from "../support/host-process.ts";
import { until } from "../support/wait.ts";
import { ask, leaseTtlMs, Stage } from "./stage.ts";

const kills = 3;
const entriesBetweenKills = 30;
const takeoverLimitMs = leaseTtlMs + 8_000;

let stage: Stage;
let hosts: readonly HostProcess[];
beforeEach(async () => {
  stage = await Stage.open();
  hosts = await Promise.all(["iad", "ams", "nrt"].map((region) => stage.host(region)));
});
afterEach(() => stage.close());

/** What a browser's `EventSource` does: it connects again when the connection breaks, and says how far it had come. */
class Listener {
  readonly name: string;
  /** All that it heard, over all connections. */
  readonly heard: ServerSentEvent[] = [];
  readonly starts: { readonly position?: string; readonly recovered?: boolean }[] = [];
  connections = 0;
  #client: EventClient | undefined;
  #isClosed = false;

  constructor(name: string, path: string, hostsToTry: () => readonly HostProcess[]) {
    this.name = name;
    void this.#run(path, hostsToTry);
  }

  get places(): number[] {
    return this.heard.map(({ id }) => Number(id?.split(".")[1]));
  }

  close(): void {
    this.#isClosed = true;
    this.#client?.close();
  }

  async #run(path: string, hostsToTry: () => readonly HostProcess[]): Promise<void> {
    let lastEventId: string | undefined;
    for (let attempt = 0; !this.#isClosed; attempt += 1) {
      const ready = hostsToTry().filter(({ isReady }) => isReady);
      const host = ready[attempt % ready.length];
      const headers: Record<string, string> =
        lastEventId === undefined ? {} : { "last-event-id": lastEventId };
      const client = host && (await EventClient.open(host.url(path), headers).catch(() => undefined));
      if (client?.response.ok) {
        this.connections += 1;
        this.#client = client;
        await this.#listen(client);
        lastEventId = client.lastEventId ?? lastEventId;
      }
      client?.close();
      await Bun.sleep(50);
    }
  }

  async #listen(client: EventClient): Promise<void> {
    let heard = 0;
    let starts = 0;
    for (let isOver = false; !isOver; await Bun.sleep(10)) {
      ({ isOver } = client);
      const messages = client.all.filter(({ event }) => event === "");
      this.heard.push(...messages.slice(heard));
      this.starts.push(...client.starts.slice(starts));
      heard = messages.length;
      starts = client.starts.length;
    }
  }
}

/** Publishes one entry after the other until it is stopped. Those that were answered must be there ever after. */
class Publisher {
  readonly acknowledged: string[] = [];
  isStopped = false;
  readonly stopped: Promise<void>;

  constructor(name: string, object: string, host: HostProcess) {
    this.stopped = this.#run(name, object, host);
  }

  async #run(name: string, object: string, host: HostProcess): Promise<void> {
    for (let entry = 1; !this.isStopped; entry += 1) {
      const { status } = host.isReady ? await ask(host, `/${object}/${name}-${entry}`) : { status: 0 };
      if (status === 200) this.acknowledged.push(`${name}-${entry}`);
      else await Bun.sleep(50);
    }
  }
}

async function ownerOf(object: string, asked: readonly HostProcess[] = hosts): Promise<HostProcess> {
  return until(
    `somebody owns ${object}`,
    async () => {
      for (const host of asked.filter(({ isReady }) => isReady)) {
        const { owner } = await ask(host, `/${object}/`, "GET", 2_000);
        const found = hosts.find(({ id, isReady }) => isReady && id === owner);
        if (found) return found;
      }
      return undefined;
    },
    takeoverLimitMs,
  );
}

test(`T6 after ${kills} kill -9 of its owner, who listened has heard every entry that anybody was told of, in order, once`, async () => {
  const path = "/news/x/-/topics/entries";
  const listeners = hosts.map(
    (host) =>
      new Listener(`at ${host.region}`, path, () => [host, ...hosts.filter((other) => other !== host)]),
  );
  await until("all listen", () => listeners.every(({ starts }) => starts.length === 1));
  const publishers = hosts.map((host) => new Publisher(host.region, "news/x", host));
  const acknowledged = () => publishers.flatMap((publisher) => publisher.acknowledged);
  for (let kill = 1; kill <= kills; kill += 1) {
    const count = acknowledged().length + entriesBetweenKills;
    await until("entries are published", () => acknowledged().length >= count, takeoverLimitMs);
    const owner = await ownerOf("news/x");
    const survivors = listeners.filter(({ name }) => name !== `at ${owner.region}`);
    const connections = survivors.map((listener) => listener.connections);
    await owner.kill();
    const after = acknowledged().length + entriesBetweenKills;
    await until("and again", () => acknowledged().length >= after, takeoverLimitMs);
    if (kill === 1) expect(survivors.map((listener) => listener.connections)).toEqual(connections);
    await owner.run();
  }
  for (const publisher of publishers) publisher.isStopped = true;
  await Promise.all(publishers.map(({ stopped }) => stopped));
  await ask(await ownerOf("news/x"), "/news/x/last");
  await until("everybody has heard the last", () =>
    listeners.every(({ heard }) => heard.at(-1)?.data === "last"),
  );
  for (const listener of listeners) listener.close();

  const [first] = listeners;
  const entries = first?.heard.map(({ data }) => data) ?? [];
  for (const { name, heard, places, starts } of listeners) {
    expect([name, places]).toEqual([name, heard.map((_, index) => index + 1)]);
    expect([name, heard.map(({ data }) => data)]).toEqual([name, entries]);
    expect([name, starts.filter(({ recovered }) => recovered === false)]).toEqual([name, []]);
    expect(new Set(starts.map(({ position }) => position?.split(".")[0])).size).toBe(1);
  }
  expect(new Set(entries).size).toBe(entries.length);
  expect(acknowledged().filter((entry) => !entries.includes(entry))).toEqual([]);
  expect(listeners.some((listener) => listener.connections > 1)).toBe(true);
}, 120_000);

test("who listens at another edge hears on in the same connection: a durable class's next entry, and that a memory class's history is lost", async () => {
  const classes = ["news", "gossip"];
  const [iad, ams] = hosts;
  if (iad === undefined || ams === undefined) throw new Error("there are three hosts");
  for (const name of classes)
    await until("it lives in iad", async () => (await ask(iad, `/${name}/x/first`)).owner === iad.id);
  const clients = await Promise.all(
    classes.map((name) => EventClient.open(ams.url(`/${name}/x/-/topics/entries?since=oldest`))),
  );
  await until("both have heard", () => clients.every(({ events }) => events.length === 1));
  const positions = clients.map(({ lastEventId }) => lastEventId);
  await iad.kill();
  const others = hosts.slice(1);
  const [news, gossip] = clients;
  // Said as soon as there is an owner, whether or not it knows of this edge yet.
  await ask(await ownerOf("news/x", others), "/news/x/second");
  await until("it is told that its history is lost", () => gossip?.starts.length === 2, takeoverLimitMs);
  await ask(await ownerOf("gossip/x", others), "/gossip/x/second");
  await until("both have heard again", () => clients.every(({ events }) => events.length === 2));
  expect(news?.events).toEqual(["first", "second"]);
  expect(news?.starts).toHaveLength(1);
  expect(gossip?.starts.map(({ recovered }) => recovered)).toEqual([undefined, false]);
  for (const client of clients) client.close();

  const again = await Promise.all(
    classes.map((name, index) =>
      EventClient.open(ams.url(`/${name}/x/-/topics/entries`), { "last-event-id": positions[index] ?? "" }),
    ),
  );
  await until("both are told", () => again.every(({ starts }) => starts.length === 1));
  expect(again.map(({ starts }) => starts[0]?.recovered)).toEqual([true, false]);
  await until("what was missed comes", () => again[0]?.events.length === 1);
  expect(again.map(({ events }) => events)).toEqual([["second"], []]);
  for (const client of again) client.close();
}, 60_000);
