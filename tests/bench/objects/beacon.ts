import { object } from "stateful-objects";

/** Says who owns it. In a folder, because the hosts that are killed are started as `bun start` starts them. */
export default object("beacon", { placement: { follow: false } })
  .get("/", ({ host }) => host.id)
  .ws("/live", {
    message(ws) {
      ws.send(ws.data.host.id);
    },
  });
