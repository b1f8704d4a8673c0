import { object } from "stateful-objects";

/** Of what one request stores. */
const valueBytes = 64 * 1024;

/** Stores more than a database takes that does not answer. */
export default object("hoard", {})
  .get("/", async ({ storage }) => ({ keys: [...(await storage.list()).keys()] }))
  .put("/:key", ({ storage, params }) => {
    void storage.put(params.key, new Uint8Array(valueBytes));
    return { stored: params.key };
  });
