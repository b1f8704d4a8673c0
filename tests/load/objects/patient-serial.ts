/** The same, one after the other. */
import { object } from "stateful-objects";
import { aborted } from "./patient.ts";

export default object("patient-serial", { concurrency: "serial" })
  .get("/", () => "here")
  .get("/never", ({ request }) => aborted(request.signal));
