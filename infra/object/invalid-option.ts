import { StatefulError } from "../lib/errors.ts";

/** What is wrong with an option of a class: names the class, the field and what to do. */
export function invalidOption(className: string, field: string, what: string): StatefulError {
  return new StatefulError("bad_request", `object("${className.slice(0, 80)}"): ${field} ${what}.`);
}
