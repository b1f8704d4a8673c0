import { afterEach, expect, test } from "bun:test";
import { object } from "stateful-objects";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { adminToken } from "../support/admin-token.ts";
import { until } from "../support/wait.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";

let cluster: Cluster | undefined;
afterEach(() => cluster?.stop());

const room = () =>
  object("room", { state: () => ({ n: 0 }), onStart: () => undefined })
    .get("/", ({ host }) => host.region)
    .ws("/live", { message: (ws, text) => void ws.send(`${ws.data.host.region} ${text}`) });

async function moved(): Promise<Cluster> {
  const made = await startCluster({
    classes: [room()],
    regions: ["iad", "nrt"],
    config: { adminToken, objectsMax: 2 },
  });
  cluster = made;
  await made.host("iad").parts.table.activate(objectRef("room", "a"), "free");
  return made;
}

async function move(on: Cluster, region: string) {
  const answer = await fetch(on.url("iad", "/-/objects/room/a/move"), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
    body: JSON.stringify({ region }),
  });
  expect(answer.status).toBe(200);
}

test("L7 L5 an object that moved to a host which let it go and is full now starts where it came from", async () => {
  const on = await moved();
  await move(on, "nrt");
  const nrt = on.host("nrt").parts.table;
  const live = await until("it lives at nrt", () => nrt.live("room/a"));
  await nrt.stop(live, "idle");
  for (const id of ["x", "y"]) await nrt.activate(objectRef("room", id), "free");
  const answer = await fetch(on.url("iad", "/room/a"));
  expect([answer.status, await answer.text()]).toEqual([200, "iad"]);
}, 30_000);

test("L7 H8 L5 sockets whose object moved away and broke there are served again", async () => {
  const on = await moved();
  const socket = new WebSocket(on.socketUrl("iad", "/room/a/live"));
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  await move(on, "nrt");
  const nrt = on.host("nrt").parts.table;
  const live = await until("it lives at nrt", () => nrt.live("room/a"));
  // Stopped, as an operator's reload or the lack of a class does it; there is no room for it any more.
  await nrt.activate(objectRef("room", "x"), "free");
  await nrt.stop(live, "drain");
  await nrt.activate(objectRef("room", "y"), "free");
  const said = new Promise<string>((resolve) =>
    socket.addEventListener("message", ({ data }) => resolve(String(data))),
  );
  const late = new Promise<string>((resolve) => setTimeout(() => resolve("no answer"), 8000));
  socket.send("hello");
  expect(await Promise.race([said, late])).toBe("iad hello");
  socket.close();
}, 30_000);

test("L7 L5 an edge that has not heard of the host that an object moves to answers on, without an error", async () => {
  // Renewals are far apart: who is alive is heard from others, or asked for.
  cluster = await startCluster({
    classes: [room()],
    regions: ["iad"],
    config: { adminToken, leaseTtlMs: 60_000 },
  });
  const on = cluster;
  await on.add("ams");
  await on.host("iad").parts.leases.refresh();
  await on.host("iad").parts.table.activate(objectRef("room", "a"), "free");
  expect(await (await fetch(on.url("ams", "/room/a"))).text()).toBe("iad");
  const nrt = await on.add("nrt");
  await on.host("iad").parts.leases.refresh();
  expect(on.host("ams").parts.leases.host(nrt.parts.leases.session.id)).toBeUndefined();
  const answers: [number, string][] = [];
  let hasMoved = false;
  const asking = (async () => {
    while (!hasMoved || answers.at(-1)?.[1] !== "nrt") {
      const answer = await fetch(on.url("ams", "/room/a"));
      answers.push([answer.status, await answer.text()]);
      if (answer.status !== 200) return;
    }
  })();
  await move(on, "nrt");
  hasMoved = true;
  await until("the edge is answered from there", async () => {
    await asking;
    return true;
  });
  expect(answers.filter(([status]) => status !== 200)).toEqual([]);
}, 30_000);
