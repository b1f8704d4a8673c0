import { expect, test } from "bun:test";
import { directoryOptionsFromEnv } from "../../infra/lease/connect-directory.ts";

test("E10 a token in a directory's URL is taken out of it where it is read, so that no error tells it", () => {
  const { url, authToken, replicaUrl } = directoryOptionsFromEnv({
    LIBSQL_URL: "libsql://directory.example?authToken=secret-of-the-url&tls=1",
    TURSO_AUTH_TOKEN: "another",
    LIBSQL_REPLICA_URL: "file:data/replica.db",
  });
  expect([url, authToken, replicaUrl]).toEqual([
    "libsql://directory.example?tls=1",
    "secret-of-the-url",
    "file:data/replica.db",
  ]);
});
