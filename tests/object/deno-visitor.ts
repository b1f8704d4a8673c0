/**
 * Runs under Deno, started by `deno.test.ts`: loads the class files named as arguments and asks each for the state of one
 * object. Prints what they answered, as JSON.
 */
import { classDefinition } from "../../infra/object/object.ts";
import { FakeHost } from "./fake-scope.ts";

// Bun's types do not know Deno.
const { args } = (globalThis as unknown as { Deno: { args: readonly string[] } }).Deno;

const answers: Record<string, unknown> = {};
for (const file of args) {
  const { default: objectClass } = await import(file);
  const name = classDefinition(objectClass)?.name ?? "";
  const host = new FakeHost(objectClass);
  const response = await host.get("/");
  const live = await host.upgrade("/live");
  answers[name] = {
    status: response.status,
    type: response.headers.get("content-type"),
    body: await response.text(),
    isSocketAccepted: live.slot.accepted !== undefined,
  };
}
console.log(JSON.stringify(answers));
