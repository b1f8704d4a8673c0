import { test } from "bun:test";

/**
 * The client against hosts as they are, once they answer `/-/connect`: start them with `tests/support/cluster.ts`, and hold them to
 * what the scripted hosts of the other files take from PROTOCOL.md. Each line below is a promise that the client builds on.
 */
test.todo(
  "`subscribed` names the place before the first message that follows, also for `oldest`: a break in between loses nothing",
);
test.todo("C1 a planned move, a sleep and a crash of the owner: once, in order, or told");
test.todo("C1 C8 the edge is killed: the next region goes on from the position");
test.todo("C3 two connections of one client meet at one position");
test.todo("C5 a hook that refuses (401) hears the next `hello`, and lets the same subscription begin");
test.todo("C10 a client that reads too slowly: `skipped`, or 4408 and back");
test.todo("C11 publish: heard by its sender, `failed` where it does not match the schema");
test.todo("C17 a socket to a class's `.ws()`, with `autoResponse` as its heartbeat");
test.todo("an `unsubscribe` that crosses `refused` or `unsubscribed` does not close the connection");
