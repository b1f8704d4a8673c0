import { expect, test } from "bun:test";
import { memoryCheckLimits } from "../../infra/host/memory-check.ts";
import { object } from "../../infra/object/index.ts";
import { connectTo, fetchFrom, ObjectHost } from "./object-host.ts";

const mebibyte = 1024 * 1024;

const hoarder = object("hoarder", {
  state: (): { pages: Uint8Array[] } => ({ pages: [] }),
  limits: { memoryBytesMax: 2 * mebibyte },
})
  .get("/", ({ state }) => state.pages.length)
  .post("/keep", async ({ state, storage }) => {
    state.pages.push(new Uint8Array(3 * mebibyte));
    await storage.put("kept", 1);
    return "kept";
  })
  .get("/wait", () => new Promise(() => undefined))
  .get("/kept", ({ storage }) => storage.get("kept"))
  .ws("/live", {});

test("H22: callers and sockets of an object over its limit get memory_limit, and what it stored is kept", async () => {
  const host = new ObjectHost(hoarder);
  const first = await host.live("hoarder");
  const { carrier } = await connectTo(first);
  expect((await fetchFrom(first, "/keep", { init: { method: "POST" } })).status).toBe(200);
  const waiting = fetchFrom(first, "/wait");
  await host.clock.advance(memoryCheckLimits.intervalMs + 1000);
  expect(carrier.closed?.code).toBe(1011);
  expect(carrier.closed?.reason).toStartWith("hoarder/a was stopped: it holds 3");
  expect(host.log.entries.find(({ event }) => event === "object.memory_limit")?.level).toBe("error");
  const late = await fetchFrom(first);
  expect(late.status).toBe(507);
  expect(await late.json()).toMatchObject({ code: "memory_limit", memoryBytesMax: 2 * mebibyte });
  void waiting;
  const next = await host.live("hoarder");
  expect(next).not.toBe(first);
  expect(await (await fetchFrom(next)).text()).toBe("0");
  expect(await (await fetchFrom(next, "/kept")).text()).toBe("1");
});

test("H22: the handler that ran meanwhile tells its caller so", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const slow = object("slow", { memoryHint: () => 5 * mebibyte, limits: { memoryBytesMax: mebibyte } }).get(
    "/",
    () => promise,
  );
  const host = new ObjectHost(slow);
  const answer = fetchFrom(await host.live("slow"));
  await host.clock.advance(memoryCheckLimits.intervalMs + 1000);
  resolve("done");
  expect((await answer).status).toBe(507);
});
