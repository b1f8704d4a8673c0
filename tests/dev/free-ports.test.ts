import { expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { freePorts } from "../../apps/dev/free-ports.ts";

function listenOn(address: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, address, () => resolve(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server does not listen");
  return address.port;
}

test.each(["127.0.0.1", "0.0.0.0"])("a port that is taken on %s is skipped", async (address) => {
  const server = await listenOn(address);
  try {
    const taken = portOf(server);
    const ports = await freePorts(taken, 2);
    expect(ports).toHaveLength(2);
    expect(ports).not.toContain(taken);
    expect(Math.min(...ports)).toBeGreaterThan(taken);
  } finally {
    server.close();
  }
});

test("0 leaves the choice to the system", async () => {
  expect(await freePorts(0, 3)).toEqual([0, 0, 0]);
});

test("there is nothing beyond the last port", async () => {
  expect(freePorts(65_535, 2)).rejects.toThrow("--port 0");
});
