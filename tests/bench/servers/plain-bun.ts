import { converse } from "../conversation.ts";
import { memoryInUse } from "../memory.ts";

/** The sockets of `classes.ts` on Bun alone: echo, and one topic with native publish. */
interface SocketKind {
  readonly isRoom: boolean;
}

const topic = "chat";
const server = Bun.serve<SocketKind>({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request, server) {
    const isRoom = request.url.includes("/room/");
    return server.upgrade(request, { data: { isRoom } }) ? undefined : new Response("Sockets only.");
  },
  websocket: {
    perMessageDeflate: false,
    open(ws) {
      if (ws.data.isRoom) ws.subscribe(topic);
    },
    message(ws, message) {
      if (ws.data.isRoom) server.publish(topic, message);
      else ws.send(message);
    },
  },
});

converse({ port: server.port }, memoryInUse);
