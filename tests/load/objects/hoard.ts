/** Objects that take 2 MiB of memory when asked to, and may be kept from sleeping. */
import { t } from "elysia";
import { object } from "stateful-objects";

export default object("hoard", {
  state: (): { page: Uint8Array } => ({ page: new Uint8Array(0) }),
  idleAfterMs: 600_000,
})
  .get("/", ({ state, host }) => ({ bytes: state.page.length, owner: host.id }))
  .post(
    "/fill",
    ({ state, host, query, setTimeout }) => {
      state.page = new Uint8Array(2 * 1024 * 1024).fill(7);
      if (query.awake) setTimeout(() => undefined, 600_000);
      return { owner: host.id };
    },
    { query: t.Object({ awake: t.Optional(t.String()) }) },
  );
