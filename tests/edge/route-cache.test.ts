import { expect, test } from "bun:test";
import { RouteCache } from "../../infra/edge/route-cache.ts";

const route = (session: string, epoch: number) => ({ session, epoch, isDoubtful: false });

test("the least recently used route goes first", () => {
  const cache = new RouteCache(3);
  for (const key of ["a", "b", "c"]) cache.put(key, route(key, 1));
  cache.get("a");
  cache.put("d", route("d", 1));
  expect(["a", "b", "c", "d"].filter((key) => cache.get(key))).toEqual(["a", "c", "d"]);
  expect(cache.size).toBe(3);
});

test("putting a route again counts as using it, and does not grow the cache", () => {
  const cache = new RouteCache(2);
  cache.put("a", route("s", 1));
  cache.put("b", route("s", 1));
  cache.put("a", route("s", 2));
  cache.put("c", route("s", 1));
  expect(cache.get("a")).toEqual(route("s", 2));
  expect(cache.get("b")).toBeUndefined();
});

test("a later epoch is never overwritten by an earlier one", () => {
  const cache = new RouteCache(10);
  cache.put("a", route("new", 7));
  cache.put("a", route("old", 6));
  expect(cache.get("a")).toEqual(route("new", 7));
  cache.put("a", route("newer", 7));
  expect(cache.get("a")?.session).toBe("newer");
});

test("a wrong route is dropped, one that has taken its place is not", () => {
  const cache = new RouteCache(10);
  cache.put("a", route("s", 5));
  cache.drop("a", route("other", 9));
  cache.drop("a", route("s", 4));
  expect(cache.get("a")).toEqual(route("s", 5));
  cache.drop("a", route("s", 5));
  expect(cache.get("a")).toBeUndefined();
  cache.drop("a", route("s", 5));
});

test("a route that is in doubt stays, until it is heard to be right or wrong", () => {
  const cache = new RouteCache(10);
  cache.put("a", route("s", 5));
  cache.doubt("a", route("other", 9));
  expect(cache.get("a")?.isDoubtful).toBe(false);
  cache.doubt("a", route("s", 5));
  expect(cache.get("a")).toEqual({ session: "s", epoch: 5, isDoubtful: true });
  cache.put("a", route("s", 5));
  expect(cache.get("a")?.isDoubtful).toBe(false);
  cache.doubt("a", route("s", 5));
  cache.drop("a", route("s", 5));
  expect(cache.get("a")).toBeUndefined();
});
