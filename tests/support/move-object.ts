import { expect } from "bun:test";
import { adminToken } from "./admin-token.ts";
import type { Cluster } from "./cluster.ts";

/** Has an operator move an object, and expects that it has moved. @param key as `room/lobby` */
export async function moveObject(cluster: Cluster, key: string, region: string): Promise<void> {
  const answer = await fetch(cluster.url("ams", `/-/objects/${key}/move`), {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}` },
    body: JSON.stringify({ region }),
  });
  expect([answer.status, await answer.json()]).toMatchObject([200, { to: { region } }]);
}
