import type { HostProcess } from "../../support/host-process.ts";
import type { Notebook } from "./notebook.ts";
import { type Dialled, hangUp } from "./roaming-client.ts";

/** The platform's own WebSocket at the topic's address: messages as they were published, and nothing else. */
export function dialRaw(host: HostProcess, notes: Notebook): Dialled {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const edge = host.id;
  const socket = new WebSocket(host.socketUrl(`/${notes.address}?name=${notes.listener}`));
  let hasLeft = false;
  socket.onopen = () => {
    if (!hasLeft) notes.opened();
  };
  socket.onmessage = ({ data }) => {
    if (!hasLeft) notes.heard(typeof data === "string" ? data : Buffer.from(data).toString());
  };
  socket.onclose = ({ code }) => {
    if (!hasLeft) notes.ended({ edge, code });
    resolve();
  };
  return {
    ended,
    leave(abruptly) {
      hasLeft = true;
      notes.ended();
      hangUp(socket, abruptly);
    },
  };
}
