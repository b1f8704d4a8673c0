import { t } from "elysia";
import { object } from "stateful-objects";

/** A number and a text in a durable state: what was answered is never lost, and never there twice. */
export default object("cell", {
  state: () => ({ count: 0, text: "" }),
  durability: "storage",
  placement: { follow: false },
})
  .get("/count", ({ state, host }) => ({ value: state.count, owner: host.id }))
  .post(
    "/count",
    ({ state, body, host }) => {
      state.count += body.by;
      return { value: state.count, owner: host.id };
    },
    { body: t.Object({ by: t.Number() }) },
  )
  .get("/text", ({ state, host }) => ({ value: state.text, owner: host.id }))
  .put(
    "/text",
    ({ state, body, host }) => {
      state.text = body.value;
      return { value: state.text, owner: host.id };
    },
    { body: t.Object({ value: t.String() }) },
  )
  .patch(
    "/text",
    ({ state, body, host }) => {
      const value = state.text;
      if (value === body.from) state.text = body.to;
      return { value, owner: host.id };
    },
    { body: t.Object({ from: t.String(), to: t.String() }) },
  );
