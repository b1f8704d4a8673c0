import { object } from "stateful-objects";

/** Its callers would rather wait for its next owner than hear that the last was lost. */
export default object("patient", { onOwnerLost: "wait" }).get("/", ({ host }) => ({ owner: host.id }));
