import { expect, test } from "bun:test";
import { object } from "stateful-objects";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import { fetchFrom, ObjectHost } from "./object-host.ts";

test("H7 a resource is made at first use, once, and shared by all objects and classes that name its factory", async () => {
  let made = 0;
  const db = () => ({ number: ++made });
  const host = new ObjectHost(
    object("box", { resources: { db } }).get("/", ({ host }) => host.resources.db.number),
    object("bag", { resources: { pool: db } }).get("/", ({ host }) => host.resources.pool.number),
    object("other", { resources: { db: () => ({ number: ++made }) } }).get(
      "/",
      ({ host }) => host.resources.db.number,
    ),
  );
  const boxes = [await host.live("box", "a"), await host.live("box", "b"), await host.live("bag", "a")];
  expect(made).toBe(0);
  for (const activation of boxes) expect(await (await fetchFrom(activation)).text()).toBe("1");
  expect(await (await fetchFrom(await host.live("other"))).text()).toBe("2");
});

test("a factory that throws is asked again", () => {
  let calls = 0;
  const view = new ResourcePool().view({
    db: () => {
      if (++calls === 1) throw new Error("no database yet");
      return calls;
    },
  });
  expect(() => view.db).toThrow("no database yet");
  expect(view.db).toBe(2);
  expect(view.db).toBe(2);
});

test("a factory that rejects is asked again; who waits meanwhile shares the rejection", async () => {
  let calls = 0;
  const connect = async () => {
    if (++calls === 1) throw new Error("no database yet");
    return calls;
  };
  const view = new ResourcePool().view({ db: connect });
  const waiting = [view.db, view.db];
  for (const outcome of await Promise.allSettled(waiting)) expect(outcome.status).toBe("rejected");
  expect(await view.db).toBe(2);
});

test("closing the pool closes what was made, whatever its way to be closed, and nothing else", async () => {
  const closed: string[] = [];
  const close = (name: string) => () => void closed.push(name);
  const pool = new ResourcePool();
  const view = pool.view({
    disposable: () => ({ [Symbol.asyncDispose]: close("disposable") }),
    database: async () => ({ close: close("database") }),
    client: () => ({ end: close("client") }),
    plain: () => 7,
    stubborn: () => ({
      close() {
        throw new Error("will not");
      },
    }),
    unused: () => ({ close: close("unused") }),
  });
  for (const name of ["disposable", "database", "client", "plain", "stubborn"] as const) void view[name];
  await pool.close();
  expect(closed.toSorted()).toEqual(["client", "database", "disposable"]);
});
