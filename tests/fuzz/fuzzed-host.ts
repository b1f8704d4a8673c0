import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostProcess } from "../support/host-process.ts";
import { adminToken } from "../support/admin-token.ts";

/** A host in a process of its own, over a database file, with the classes of `objects/`. */
export async function withFuzzedHost<T>(use: (host: HostProcess) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "stateful-fuzz-"));
  const host = new HostProcess({
    ...{
      region: "iad",
      directoryUrl: `file:${join(folder, "directory.db")}`,
      objectsFolder: "tests/fuzz/objects",
    },
    leaseTtlMs: 6_000,
    env: { STATEFUL_ADMIN_TOKEN: adminToken },
  });
  try {
    await host.run();
    return await use(host);
  } finally {
    await host.kill();
    await rm(folder, { recursive: true, force: true });
  }
}
