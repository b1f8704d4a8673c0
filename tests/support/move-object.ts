import { expect } from "bun:test";
import type { Cluster } from "./cluster.ts";

/** For the `config` of a cluster whose objects a test moves. */
export const adminToken = "a-token-that-only-tests-use";

/** Has an operator move an object, and expects that it has moved. @param key as `room/lobby` */
export async function moveObject(cluster: Cluster, key: string, region: string): Promise<void> {
  const answer = await fetch(cluster.url("ams", `/-/objects/${key}/move`), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
    body: JSON.stringify({ region }),
  });
  expect([answer.status, await answer.json()]).toMatchObject([200, { to: { region } }]);
}
