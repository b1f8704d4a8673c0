import type { LogFields } from "../../infra/lib/log.ts";
import { failureReport } from "./failure-report.ts";

/** The fields of a log entry, fit for JSON: errors become reports at any depth, and what JSON cannot hold becomes text. */
export function portableFields(fields: LogFields, root: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, portable(value, root)]));
}

function portable(value: unknown, root: string): unknown {
  try {
    const text = JSON.stringify(value, (_, inner) => portableLeaf(inner, root));
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return Bun.inspect(value, { depth: 2 });
  }
}

function portableLeaf(value: unknown, root: string): unknown {
  if (value instanceof Error) return failureReport(value, root);
  if (typeof value === "bigint") return String(value);
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  return value;
}
