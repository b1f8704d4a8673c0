import type { Browser, Page } from "playwright-core";
import { until } from "../support/wait.ts";

/** What has not come by then will not: browsers are many processes, and need their time on a machine that is busy. */
export const patienceMs = 40_000;

/** One person at one page of a room. What is on the screen is asked with patience, and what did not come is named. */
export class ChatWindow {
  readonly name: string;
  readonly page: Page;
  readonly said: string[] = [];
  /** What the console has said that is not of the network, and what nobody caught. */
  readonly complaints: string[] = [];

  private constructor(name: string, page: Page) {
    this.name = name;
    this.page = page;
    page.on("pageerror", ({ message }) => this.complaints.push(message));
    page.on("console", (line) => {
      const isOfNetwork = /Failed to load resource|WebSocket connection to/.test(line.text());
      if (line.type() === "error" && !isOfNetwork) this.complaints.push(line.text());
    });
  }

  static async open(
    browser: Browser,
    name: string,
    url: string,
    look: "light" | "dark",
  ): Promise<ChatWindow> {
    const context = await browser.newContext({ colorScheme: look, viewport: { width: 960, height: 680 } });
    await context.addInitScript((words) => localStorage.setItem("name", words), name);
    const window = new ChatWindow(name, await context.newPage());
    // A host that is busy may refuse with 503, and a person would reload.
    const loads = async () => (await window.page.goto(url, { timeout: patienceMs }))?.ok();
    await until(`the page of ${name} loads`, loads, patienceMs);
    window.complaints.length = 0;
    await window.sees("status", "Connected");
    return window;
  }

  async say(...texts: readonly string[]): Promise<void> {
    for (const text of texts) {
      this.said.push(text);
      await this.page.fill("#text", text);
      await this.page.press("#text", "Enter");
    }
  }

  /** Until a part of the page reads like this. */
  async sees(part: "status" | "edge" | "owner", words: string): Promise<void> {
    let last = "";
    const isThere = async () => {
      last = await this.reads(part);
      return last === words;
    };
    await until(`${this.name} sees "${words}" as ${part}`, isThere, patienceMs).catch((error) => {
      throw new Error(`${error.message}; it is "${last}"`);
    });
  }

  /** What the part says now. */
  async reads(part: "status" | "edge" | "owner"): Promise<string> {
    return (await this.page.textContent(part === "status" ? "[role=status]" : `#${part}`)) ?? "";
  }

  /** As the browser has it: pages are told so, and may ask for nothing. */
  async goesOffline(): Promise<void> {
    await this.page.context().setOffline(true);
  }

  async comesOnline(): Promise<void> {
    await this.page.context().setOffline(false);
  }

  /** Messages in the order of the page, those that are still being sent left out. */
  heard(): Promise<string[]> {
    return this.page.locator("#log .text").allTextContents();
  }

  unsent(): Promise<string[]> {
    return this.page.locator("#outbox .unsent .text").allTextContents();
  }

  /** Lines between messages: how a reconnect went, and where something is missing. */
  marks(kind: "back" | "gap"): Promise<string[]> {
    return this.page.locator(`#log .mark.${kind}`).allTextContents();
  }

  async hears(text: string): Promise<void> {
    const isHeard = async () => (await this.heard()).includes(text);
    await until(`${this.name} hears "${text}"`, isHeard, patienceMs).catch(async (error) => {
      throw new Error(`${error.message}; the last is "${(await this.heard()).at(-1)}"`);
    });
  }

  async seesPeople(...names: readonly string[]): Promise<void> {
    let present: string[] = [];
    const areThere = async () => {
      present = await this.page.locator("#people li").allTextContents();
      return present.join() === names.join();
    };
    await until(`${this.name} sees ${names.join(" and ")} in the room`, areThere, patienceMs).catch(
      (error) => {
        throw new Error(`${error.message}; there are ${present.join(" and ")}`);
      },
    );
  }
}
