import { afterEach, expect, test } from "bun:test";
import { EventFeed, linesPerSecondMax } from "../../apps/dev/event-feed.ts";
import type { EventText } from "../../apps/dev/event-lines.ts";
import type { HostEvent } from "../../apps/dev/host-messages.ts";
import { until } from "../support/wait.ts";

const open: EventFeed[] = [];
afterEach(() => {
  for (const feed of open.splice(0)) feed.close();
});

function listening() {
  const shown: EventText[] = [];
  const feed = new EventFeed((text) => shown.push(text));
  feed.isQuiet = false;
  open.push(feed);
  return { feed, shown };
}

function event(
  name: string,
  fields: HostEvent["fields"] = {},
  level: HostEvent["level"] = "info",
): HostEvent {
  return { level, name, fields };
}

test("a link is one line each time it opens or closes, though both its ends tell of it", () => {
  const { feed, shown } = listening();
  for (const name of ["link.opened", "link opened", "link.closed", "link.opened"]) {
    feed.hear("iad", event(name, { region: "ams" }));
    feed.hear("ams", event(name, { region: "iad" }));
  }
  expect(shown.map(({ title }) => title)).toEqual(["link up", "link down", "link up"]);
});

test("while quiet, only what is wrong is shown", () => {
  const { feed, shown } = listening();
  feed.isQuiet = true;
  feed.hear("iad", event("object started", { object: "a/b" }));
  feed.hear("iad", event("object ended", { object: "a/b", cause: "gone" }, "warn"));
  expect(shown.map(({ title }) => title)).toEqual(["object ended"]);
});

test("a flood is counted instead of shown, each kind and region for itself", async () => {
  const { feed, shown } = listening();
  for (let index = 0; index < linesPerSecondMax + 5; index++) {
    feed.hear("iad", event("object started", { object: `a/${index}` }));
  }
  feed.hear("ams", event("object started", { object: "a/b" }));
  expect(shown).toHaveLength(linesPerSecondMax + 1);
  await until("the count of the rest", () => shown.some(({ subject }) => subject === "… and 5 more"));
});
