import { type Log, type LogFields, silentLog } from "../../infra/lib/log.ts";

type Level = "debug" | "info" | "warn" | "error";

/** One JSON object per line on standard output: what log collectors, Fly's included, take apart by themselves. */
export function jsonLog(write: (line: string) => void, base: LogFields, withDebug = false): Log {
  const entry = (level: Level) => (event: string, fields?: LogFields) => {
    const line = { time: new Date().toISOString(), level, event, ...base };
    write(jsonLine({ ...line, ...fields }) ?? jsonLine({ ...line, unprintable: true }) ?? "{}");
  };
  const debug = withDebug ? entry("debug") : silentLog.debug;
  return { debug, info: entry("info"), warn: entry("warn"), error: entry("error") };
}

/** Undefined for what JSON cannot hold, as a cycle: an author may throw anything, and telling of it must not fail. */
function jsonLine(entry: object): string | undefined {
  try {
    return JSON.stringify(entry, printable);
  } catch {
    return undefined;
  }
}

/** Errors have no enumerable fields, and big integers no JSON: both are spelled out. */
function printable(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  const code = "code" in value ? { code: value.code } : {};
  return { name, ...code, message, stack, ...(cause === undefined ? {} : { cause }) };
}
