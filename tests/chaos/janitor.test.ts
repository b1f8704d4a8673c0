import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../support/wait.ts";
import { startJanitor } from "./janitor.ts";

const janitorFile = JSON.stringify(join(import.meta.dir, "janitor.ts"));
const newFolder = () => mkdtemp(join(tmpdir(), "janitor-"));

test.skipIf(process.platform === "win32")(
  "what a run made is removed after a kill -9 of the run",
  async () => {
    const folder = await newFolder();
    const remains = JSON.stringify({ bridge: "none", disk: "", folder, namespaces: [] });
    const run = `
    const { startJanitor } = await import(${janitorFile});
    startJanitor(${remains});
    console.log("ready");
    setInterval(() => {}, 1_000);`;
    const child = Bun.spawn([process.execPath, "-e", run], { stdio: ["ignore", "pipe", "ignore"] });
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toStartWith("ready");
    expect(existsSync(folder)).toBe(true);
    child.kill("SIGKILL");
    await until("the folder is gone", () => !existsSync(folder));
  },
);

test("one that is sent away removes nothing", async () => {
  const folder = await newFolder();
  const send = startJanitor({ bridge: "none", disk: "", folder, namespaces: [] });
  await send();
  expect(existsSync(folder)).toBe(true);
  await rm(folder, { recursive: true });
});
