import type { Dispatcher } from "../../infra/edge/dispatcher.ts";
import { systemRequest } from "../../infra/host/system-calls.ts";
import type { ObjectName } from "../../infra/lease/stored-objects.ts";
import { isErrorCode, StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";

/** The longest part of an answer that is looked at for why an object was not woken. */
const reasonLengthMax = 4096;

/**
 * What the sweep for overdue alarms does with an object: has it live, wherever it belongs, and look at its alarms. Objects of
 * a class that no host runs just now are passed over; their alarms wait for one that does.
 */
export function alarmWakes(
  dispatcher: Pick<Dispatcher, "system">,
  runsSomewhere: (className: string) => boolean,
): (object: ObjectName) => Promise<void> {
  return async ({ className, id }) => {
    if (!runsSomewhere(className)) return;
    const ref = objectRef(className, id);
    const response = await dispatcher.system(ref, systemRequest(ref, "POST", "wake"));
    if (!response.ok) throw await failureOf(response);
  };
}

async function failureOf(response: Response): Promise<StatefulError> {
  const text = (await response.text()).slice(0, reasonLengthMax);
  try {
    const { code, detail } = JSON.parse(text);
    return new StatefulError(isErrorCode(code) ? code : "internal", String(detail));
  } catch {
    return new StatefulError("internal", `It was answered with ${response.status}.`);
  }
}
