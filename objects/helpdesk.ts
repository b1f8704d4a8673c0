/**
 * Sockets that outlive the object's memory. A desk sleeps while nobody speaks, moves when its host is deployed, and starts
 * again elsewhere when that crashes; its clients stay connected through all of it. What belongs to a client is its
 * *attachment*, and *tags* find the right ones: both are kept where the client is connected, and come back with it.
 */
import { t } from "elysia";
import { object } from "stateful-objects";

interface Caller {
  readonly name: string;
  readonly since: string;
}

export default object("helpdesk", {
  idleAfterMs: 10_000,
  // Answered where the client is connected: keeping connections alive wakes no desk.
  autoResponse: { request: "ping", response: "pong" },
})
  .get("/", ({ sockets }) => ({
    agents: sockets.list({ tag: "agent" }).length,
    callers: sockets.list({ tag: "caller" }).map(({ attachment }) => attachment),
  }))
  .ws("/live", {
    query: t.Object({ name: t.String({ maxLength: 40 }), agent: t.Optional(t.Literal("yes")) }),
    body: t.String({ maxLength: 2000 }),
    // Runs once for each client. After sleep or a move the hooks before it run again, with `reattached: true`; this does not.
    open(ws) {
      const { name, agent } = ws.data.query;
      ws.tags = [agent ? "agent" : "caller"];
      ws.attachment = { name, since: new Date().toISOString() } satisfies Caller;
    },
    message(ws, text) {
      const { name } = ws.attachment as Caller; // set above, and nowhere else
      const others = ws.tags.includes("agent") ? "caller" : "agent";
      for (const socket of ws.data.sockets.list({ tag: others })) socket.send({ from: name, text });
    },
  });
