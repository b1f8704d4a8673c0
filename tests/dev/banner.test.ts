import { expect, test } from "bun:test";
import { type BannerFacts, banner } from "../../apps/dev/banner.ts";
import { plain } from "../../apps/dev/palette.ts";

const facts: BannerFacts = {
  hosts: [
    { region: "iad", url: "http://localhost:4001" },
    { region: "nrt", url: "http://localhost:4002" },
  ],
  hasDistance: true,
  objectsFolder: "objects",
  classFiles: ["channel.ts", "counter.ts"],
  runner: "npx -y bun@1.4.5",
  listener: "apps/dev/listen.ts",
};

test("where the hosts are, and commands that can be pasted as they stand", () => {
  const lines = banner(facts, plain)
    .split("\n")
    .map((line) => line.trim());
  expect(lines).toContain("iad  Ashburn, Virginia (US)  http://localhost:4001  directory's primary");
  expect(lines).toContain("nrt  Tokyo, Japan            http://localhost:4002  153 ms round trip to iad");
  expect(lines).toContain("curl -X POST http://localhost:4001/counter/a/increment");
  expect(lines).toContain("curl -X POST http://localhost:4002/counter/a/increment");
  expect(lines).toContain("npx -y bun@1.4.5 apps/dev/listen.ts ws://localhost:4002/counter/a/live");
  expect(lines).toContain("npx -y bun@1.4.5 run storage get counter/a --url http://localhost:4001");
});

test("the page of a room is opened at both ends of the world, where there are rooms", () => {
  const pages = (classFiles: string[]) => banner({ ...facts, classFiles }, plain).match(/http\S+\/chat$/gm);
  expect(pages(["counter.ts", "room.ts"])).toEqual([
    "http://localhost:4001/room/lobby/chat",
    "http://localhost:4002/room/lobby/chat",
  ]);
  expect(pages(["room.ts"])).toHaveLength(2);
  expect(pages(["counter.ts"])).toBeNull();
});

test("without distance none is claimed", () => {
  expect(banner({ ...facts, hasDistance: false }, plain)).not.toContain("round trip");
});

test("one region has one command of each kind", () => {
  const text = banner({ ...facts, hosts: facts.hosts.slice(0, 1) }, plain);
  expect(text.match(/curl/g)).toHaveLength(1);
  expect(text).toContain("1 region on this machine");
});

test("a folder without the counter gets commands for the first class that it has", () => {
  expect(banner({ ...facts, classFiles: ["channel.ts"] }, plain)).toContain(
    "curl http://localhost:4001/channel/a",
  );
});
