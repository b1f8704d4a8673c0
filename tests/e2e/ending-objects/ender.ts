import { t } from "elysia";
import { object } from "stateful-objects";

/** Says where it runs, and ends the process that it runs in when told to. */
export default object("ender", { state: () => ({ calls: 0 }) })
  .post("/", ({ state, host }) => {
    state.calls += 1;
    return { owner: host.id, calls: state.calls };
  })
  .post("/exit/:code", ({ params: { code } }) => process.exit(code), {
    params: t.Object({ id: t.String(), code: t.Number() }),
  });
