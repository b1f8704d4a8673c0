import { expect, test } from "bun:test";
import { object } from "stateful-objects";
import { jsonLog } from "../../apps/server/log-lines.ts";
import { callsPerTurn, Turns } from "../../infra/host/turns.ts";
import { objectCalls } from "../../infra/host/object-calls.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { until } from "../support/wait.ts";
import { connectTo, fetchFrom, ObjectHost } from "./object-host.ts";

test("H5 a response that cannot be sent twice is a failure each time, and leaves no event open", async () => {
  const cached = new Response("once");
  const box = object("box", { limits: { queueLengthMax: 2 } })
    .get("/cached", async () => cached)
    .get("/ok", () => "fine");
  const host = new ObjectHost(box);
  const activation = await host.live("box");
  expect(await (await fetchFrom(activation, "/cached")).text()).toBe("once");
  for (let n = 0; n < 5; n++) expect((await fetchFrom(activation, "/cached")).status).toBe(500);
  expect((await fetchFrom(activation, "/ok")).status).toBe(200);
  expect(activation.openEvents).toBe(0);
});

test("H3 a stream whose source waits breaks when its activation ends", async () => {
  const waits = object("waits").get(
    "/",
    () => new Response(new ReadableStream({ pull: () => new Promise(() => undefined) })),
  );
  const activation = await new ObjectHost(waits).live("waits");
  const reader = (await fetchFrom(activation)).body?.getReader();
  if (reader === undefined) throw new Error("There is no stream.");
  const reading = reader.read().catch((error: unknown) => error);
  const cause = new StatefulError("session_over", "The directory lost the lease.");
  activation.end(cause);
  expect(await reading).toBe(cause);
  expect(activation.openEvents).toBe(0);
});

test("H3 L3 a call to another object does not leave an activation whose session is over", async () => {
  const called: string[] = [];
  const calls = objectCalls(async (request) => {
    called.push(new URL(request.url).pathname);
    return new Response("called");
  }, new Turns(systemClock, callsPerTurn));
  const other = object("other").post("/note", () => "noted");
  let isOver = false;
  const objects = calls([], () => {
    if (isOver) throw new StatefulError("session_over", "over");
  });
  await objects(other, "b/c").note.post();
  isOver = true;
  const late = await objects(other, "b")
    .note.post()
    .catch((error: unknown) => error);
  expect(called).toEqual(["/other/b%2Fc/note"]);
  expect(late).toMatchObject({ error: { value: { code: "session_over" } } });
});

test("a generator of a socket's handler ends with the socket", async () => {
  let next: (() => void) | undefined;
  let hasEnded = false;
  const ticker = object("ticker").ws("/live", {
    async *open() {
      try {
        for (let n = 0; ; n++) {
          yield `tick ${n}`;
          await new Promise<void>((resolve) => {
            next = resolve;
          });
        }
      } finally {
        hasEnded = true;
      }
    },
    message: () => undefined,
  });
  const activation = await new ObjectHost(ticker).live("ticker");
  const connecting = connectTo(activation);
  await until("the first tick", () => next !== undefined);
  activation.sockets.closeAll();
  next?.();
  const { carrier } = await connecting;
  expect(carrier.sent).toEqual(["tick 0"]);
  expect(hasEnded).toBe(true);
  expect(activation.openEvents).toBe(0);
});

test("what a client says after its socket was closed is not heard", async () => {
  const heard: unknown[] = [];
  const bouncer = object("bouncer").ws("/live", {
    message(ws, message) {
      heard.push(message);
      ws.close(4401, "Out.");
    },
  });
  const activation = await new ObjectHost(bouncer).live("bouncer");
  const { socket } = await connectTo(activation);
  for (const message of ["first", "second"]) await socket.received(message);
  expect(heard).toEqual(["first"]);
});

test("H5 an activation that has ended takes no socket", async () => {
  const activation = await new ObjectHost(object("box").ws("/live", { message: () => undefined })).live(
    "box",
  );
  const { socket } = await connectTo(activation);
  activation.end(new StatefulError("session_over", "over"));
  expect(() => activation.addSocket(socket)).toThrow("over");
});

test("O3 whatever an author throws can be logged", () => {
  const lines: string[] = [];
  const log = jsonLog((line) => lines.push(line), { hostId: "h" });
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  log.error("handler.failed", { errorId: "e1", error: cycle });
  log.error("handler.failed", { error: new StatefulError("queue_full", "full", { cause: 5n }) });
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { event: "handler.failed", hostId: "h", unprintable: true },
    { error: { code: "queue_full", message: "full", cause: "5" } },
  ]);
});
