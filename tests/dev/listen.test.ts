import { expect, test } from "bun:test";
import { join } from "node:path";
import { until } from "../support/wait.ts";

const listener = join(import.meta.dir, "../../apps/dev/listen.ts");

test("the listener prints what it hears and sends what is typed", async () => {
  const heard: string[] = [];
  using server = Bun.serve({
    port: 0,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 400 })),
    websocket: {
      open: (ws) => void ws.send("hello"),
      message(ws, text) {
        heard.push(String(text));
        ws.close(1000, "enough");
      },
    },
  });
  const address = `http://localhost:${server.port}/counter/a/live`;
  const child = Bun.spawn([process.execPath, listener, address], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.write("typed\n");
  child.stdin.flush();
  await until("what was typed arrives", () => heard[0] === "typed");
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stdout).text()).toBe("hello\n");
  expect(await new Response(child.stderr).text()).toContain("Closed with 1000: enough.");
});

test("without an address it says what it wants", async () => {
  const child = Bun.spawn([process.execPath, listener], { stdio: ["ignore", "ignore", "pipe"] });
  expect(await child.exited).toBe(2);
  expect(await new Response(child.stderr).text()).toContain("Usage:");
});
