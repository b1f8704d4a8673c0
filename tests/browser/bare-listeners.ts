import type { Page } from "playwright-core";

/** What was heard so far: `subscribed`, the texts of messages, and `subscribed, recovered` after a reconnect. */
type Heard = () => Promise<string[]>;

/**
 * What follows runs in the page, on what browsers have and nothing else: as PROTOCOL.md describes it to those who do without
 * the SDK. Each keeps what it has heard in a global of the page.
 */
declare const heardByEventSource: string[];
declare const heardByWebSocket: string[];

/**
 * One topic as server-sent events. The browser itself comes back, with `Last-Event-ID`, as long as hosts answer with a stream;
 * after a 503 it has given up, and the page asks anew.
 */
export async function listenAsEventSource(page: Page, object: string): Promise<Heard> {
  await page.evaluate((key) => {
    const texts: string[] = [];
    Object.assign(globalThis, { heardByEventSource: texts });
    let since = "";
    const listen = () => {
      const source = new EventSource(`/${key}/-/topics/chat?since=${encodeURIComponent(since)}`);
      source.addEventListener("subscribed", ({ data, lastEventId }) => {
        since = lastEventId;
        texts.push(JSON.parse(data).recovered ? "subscribed, recovered" : "subscribed");
      });
      source.addEventListener("message", ({ data, lastEventId }) => {
        since = lastEventId;
        texts.push(JSON.parse(data).text);
      });
      source.addEventListener("error", () => {
        if (source.readyState === EventSource.CLOSED) setTimeout(listen, 500);
      });
    };
    listen();
  }, object);
  return () => page.evaluate(() => heardByEventSource);
}

/** One topic over `/-/connect`. Whoever has no SDK keeps the position, and dials again. */
export async function listenAsWebSocket(page: Page, object: string): Promise<Heard> {
  await page.evaluate((key) => {
    const texts: string[] = [];
    Object.assign(globalThis, { heardByWebSocket: texts });
    let since: string | undefined;
    const dial = () => {
      const socket = new WebSocket(`ws://${location.host}/-/connect`);
      socket.onopen = () =>
        socket.send(JSON.stringify({ type: "subscribe", id: 1, object: key, topic: "chat", since }));
      socket.onmessage = ({ data }) => {
        const { type, position, recovered, data: message } = JSON.parse(data);
        if (position) since = position;
        if (type === "subscribed") texts.push(recovered ? "subscribed, recovered" : "subscribed");
        if (type === "message") texts.push(message.text);
        if (type === "refused") socket.close(); // and dial again
      };
      socket.onclose = () => setTimeout(dial, 500);
    };
    dial();
  }, object);
  return () => page.evaluate(() => heardByWebSocket);
}
