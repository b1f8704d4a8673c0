import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { ask, Stage } from "../continuity/stage.ts";
import type { HostProcess } from "../support/host-process.ts";
import { until as untilIn } from "../support/wait.ts";
import { ChatWindow, patienceMs } from "./chat-window.ts";
import { hasBrowser, howToGetBrowser, isBrowserRequired, launchBrowser, takeScreen } from "./chromium.ts";
import { listenAsEventSource, listenAsWebSocket } from "./bare-listeners.ts";
import { NetworkWay } from "./network-way.ts";

/**
 * What a user has of all this, in a real browser: two people talk through hosts of two regions, on the page of `room`, while the
 * room moves, its owner is killed and the network of one of them goes. And the two ways in that need nothing of ours, as
 * `infra/topics/PROTOCOL.md` has them.
 */
const limitMs = 120_000;
/** A killed owner's room is elsewhere after it. No shorter: this is much for a small machine, and no host should lose its lease. */
const leaseTtlMs = 9_000;
/** What the room keeps, and a few more. */
const tooManyMessages = 210;

if (!hasBrowser) {
  if (isBrowserRequired)
    test("there is a browser", () => {
      throw new Error(howToGetBrowser);
    });
  else console.warn(`The tests in a browser are skipped. ${howToGetBrowser}`);
}

describe.skipIf(!hasBrowser)("in a browser", () => {
  let stage: Stage;
  let browser: Browser;
  const ways: NetworkWay[] = [];

  beforeAll(async () => {
    [stage, browser] = await Promise.all([
      Stage.open({ objectsFolder: "objects", leaseTtlMs }),
      launchBrowser(),
    ]);
  }, limitMs);
  afterAll(async () => {
    await browser?.close();
    await Promise.all(ways.map((way) => way.close()));
    await stage?.close();
  }, limitMs);

  /** Two pages of one room, at hosts of two regions, each with a network of its own. */
  async function twoWindows(room: string) {
    const [annsWay, bensWay] = [await wayTo(stage.host(0)), await wayTo(stage.host(1))];
    const path = `/room/${room}/chat`;
    const [ann, ben] = await Promise.all([
      ChatWindow.open(browser, "Ann", annsWay.url(path), "light"),
      ChatWindow.open(browser, "Ben", bensWay.url(path), "dark"),
    ]);
    await Promise.all([ann, ben].map((window) => window.seesPeople("Ann", "Ben")));
    return { ann, ben, bensWay };
  }

  async function wayTo(host: HostProcess): Promise<NetworkWay> {
    const way = await NetworkWay.open(host.port);
    ways.push(way);
    return way;
  }

  async function post(room: string, text: string): Promise<void> {
    const body = JSON.stringify({ id: crypto.randomUUID(), from: "Cy", text });
    const request = { method: "POST", headers: { "content-type": "application/json" }, body };
    await until(`"${text}" is said in ${room}`, async () => {
      const { status } = await ask(stage.host(0), `/room/${room}/messages`, request);
      return status === 200;
    });
  }

  test.concurrent(
    "nothing is lost or said twice while the room moves, its owner is killed and a network is half-open",
    async () => {
      await ask(stage.host(0), "/room/lobby"); // starts it there
      const { ann, ben, bensWay } = await twoWindows("lobby");
      const both = [ann, ben];
      await Promise.all(both.map((window) => window.say(...numbered(window, "before", 3))));

      await Promise.all([
        until("lobby moves", async () => (await stage.move("/room/lobby", stage.host(2))).status === 200),
        ...both.map((window) => window.say(...numbered(window, "in the move", 3))),
      ]);
      await Promise.all(both.map((window) => window.sees("owner", "nrt")));
      await Promise.all(
        both.flatMap((window) => both.map((other) => window.hears(lastOf(other, "in the move", 3)))),
      );
      await takeScreen(ann.page, "1-moved");

      bensWay.loseEverything();
      await ben.goesOffline();
      await ben.sees("status", "This device is offline.");
      await ben.say(...numbered(ben, "offline", 2));
      await takeScreen(ben.page, "2-offline");
      await ben.comesOnline(); // there is a network again, and his old connection is dead without a word

      await ann.say(...numbered(ann, "before the kill", 2));
      await ann.hears(lastOf(ann, "before the kill", 2));
      await stage.host(2).kill();
      await ann.say(...numbered(ann, "after the kill", 3));
      await takeScreen(ann.page, "3-owner-killed");
      await ann.hears(lastOf(ann, "after the kill", 3));
      await until("the room has a new owner", async () => /iad|ams/.test(await ann.reads("owner")));

      await ben.sees("status", "No connection.");
      await takeScreen(ben.page, "4-waiting");
      expect(await ben.unsent()).toHaveLength(2);
      bensWay.restore();
      await ben.sees("status", "Connected");
      await ben.hears(lastOf(ann, "after the kill", 3));
      await Promise.all(both.map((window) => window.hears(lastOf(ben, "offline", 2))));
      await Promise.all(both.map((window) => window.seesPeople("Ann", "Ben")));
      await ben.sees("owner", await ann.reads("owner"));
      await takeScreen(ann.page, "5-all-is-well");
      await takeScreen(ben.page, "6-caught-up");

      const heard = await ann.heard();
      expect(await ben.heard()).toEqual(heard);
      expect(heard.toSorted()).toEqual([...ann.said, ...ben.said].toSorted());
      for (const window of both) {
        expect(heard.filter((text) => window.said.includes(text))).toEqual(window.said);
        expect(await window.marks("gap")).toEqual([]);
        expect(window.complaints).toEqual([]);
      }
      expect(await ben.marks("back")).toEqual([
        "Connected again. 5 messages were said meanwhile, and none is missing.",
      ]);
    },
    limitMs,
  );

  test.concurrent(
    "a page that was away for more than the room keeps shows where something is missing, and goes on",
    async () => {
      const { ann, ben, bensWay } = await twoWindows("busy");
      await ann.say("the last that Ben hears");
      await ben.hears("the last that Ben hears");
      bensWay.breakOff("refused");
      await ben.sees("status", "No connection.");
      for (let n = 1; n <= tooManyMessages; n += 10)
        await Promise.all(Array.from({ length: 10 }, (_, more) => post("busy", `message ${n + more}`)));
      bensWay.restore();
      await ben.sees("status", "Connected");
      await until("Ben has caught up", async () => (await ben.heard()).length > 200);
      await ann.say("welcome back");
      await ben.hears("welcome back");
      await takeScreen(ben.page, "7-many-messages");

      expect(await ben.marks("gap")).toEqual(["Messages are missing here: the room keeps them no longer."]);
      await ben.page.locator(".mark.gap").scrollIntoViewIfNeeded();
      await takeScreen(ben.page, "8-gap");
      const kept = (await ann.heard()).slice(-201);
      expect(await ben.heard()).toEqual(["the last that Ben hears", ...kept]);
      expect(await ann.marks("gap")).toEqual([]);
      expect([...ann.complaints, ...ben.complaints]).toEqual([]);
    },
    limitMs,
  );

  test.concurrent(
    "an EventSource and a bare WebSocket come back to where they were",
    async () => {
      const way = await wayTo(stage.host(1));
      const page = await (await browser.newContext()).newPage();
      await page.goto(way.url("/-/health"), { timeout: patienceMs }); // any page of the host's will do
      const listeners = [
        await listenAsEventSource(page, "room/bare"),
        await listenAsWebSocket(page, "room/bare"),
      ];
      const heardByBoth = () => Promise.all(listeners.map((listener) => listener()));
      const bothHear = (what: string) =>
        until(`both hear "${what}"`, async () =>
          (await heardByBoth()).every((texts) => texts.includes(what)),
        ).catch(async (error) => {
          throw new Error(`${error.message}; they have heard ${JSON.stringify(await heardByBoth())}`);
        });
      await bothHear("subscribed");
      await post("bare", "one");
      await bothHear("one");
      way.breakOff("refused");
      await post("bare", "two");
      await post("bare", "three");
      way.restore();
      await bothHear("three");
      await post("bare", "four");
      await bothHear("four");
      for (const heard of listeners)
        expect(await heard()).toEqual(["subscribed", "one", "subscribed, recovered", "two", "three", "four"]);
    },
    limitMs,
  );
});

function numbered({ name }: ChatWindow, when: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name} ${when}: ${index + 1}`);
}

function lastOf(window: ChatWindow, when: string, count: number): string {
  return numbered(window, when, count).at(-1) ?? "";
}

function until<T>(what: string, condition: () => Promise<T | false>): Promise<T> {
  return untilIn(what, condition, patienceMs);
}
