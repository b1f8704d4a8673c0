import { encodeValue } from "../../infra/storage/storage-codec.ts";

/** Width of a value in a table, in characters; and what is shown of one value by itself. */
const cellWidth = 80;
const valueLengthMax = 16_000;
const keyWidthMax = 60;

export interface AlarmLine {
  readonly object?: string;
  readonly name: string;
  readonly dueAt: string;
  readonly attempt: number;
  readonly recurs: unknown;
  readonly isParked: boolean;
  readonly lastError: string | null;
}

/** One value, over several lines where that is easier to read. */
export function valueText(value: unknown, colors: boolean): string {
  const text = Bun.inspect(value, { colors, depth: 12 });
  if (text.length <= valueLengthMax) return text;
  const plain = Bun.inspect(value, { depth: 12 });
  return `${plain.slice(0, valueLengthMax)}…\n(${sizeText(sizeOf(value))} stored, cut here; --json has all of it)`;
}

export function entriesTable(entries: readonly (readonly [key: string, value: unknown])[]): string {
  const rows = entries.map(([key, value]) => [
    cut(printable(key), keyWidthMax),
    sizeText(sizeOf(value)),
    cell(value),
  ]);
  return table(["key", "size", "value"], rows, [1]);
}

export function alarmsTable(alarms: readonly AlarmLine[], nowMs: number): string {
  const hasObject = alarms.some(({ object }) => object !== undefined);
  const rows = alarms.map((alarm) => [
    ...(hasObject ? [alarm.object ?? ""] : []),
    cut(printable(alarm.name), keyWidthMax),
    alarm.isParked ? "parked" : fromNow(Date.parse(alarm.dueAt) - nowMs),
    alarm.dueAt,
    String(alarm.attempt),
    recursText(alarm.recurs),
    alarm.lastError === null ? "" : cut(printable(alarm.lastError), cellWidth),
  ]);
  const heads = ["alarm", "due", "at", "attempts", "recurs", "last error"];
  return table(hasObject ? ["object", ...heads] : heads, rows, []);
}

/** Bytes as they are stored; undefined for what could not be. */
function sizeOf(value: unknown): number | undefined {
  try {
    return encodeValue(value, "", Number.POSITIVE_INFINITY).length;
  } catch {
    return undefined;
  }
}

function sizeText(bytes: number | undefined): string {
  if (bytes === undefined) return "";
  if (bytes < 10_000) return `${bytes} B`;
  return bytes < 10_000_000 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(0)} MB`;
}

function cell(value: unknown): string {
  return cut(Bun.inspect(value, { depth: 4, compact: true }).replaceAll(/\s*\n\s*/g, " "), cellWidth);
}

function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

/** What a terminal would obey, and what would break a line. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (control) => JSON.stringify(control).slice(1, -1));
}

function fromNow(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1000);
  const [amount, unit] =
    seconds < 120
      ? [seconds, "s"]
      : seconds < 7200
        ? [Math.round(seconds / 60), "min"]
        : [Math.round(seconds / 3600), "h"];
  return ms < 0 ? `${amount} ${unit} late` : `in ${amount} ${unit}`;
}

function recursText(recurs: unknown): string {
  if (typeof recurs !== "object" || recurs === null) return typeof recurs === "string" ? recurs : "";
  if ("every" in recurs) return `every ${Number(recurs.every) / 1000} s`;
  if ("cron" in recurs) return `${recurs.cron}${"timeZone" in recurs ? ` (${recurs.timeZone})` : ""}`;
  return JSON.stringify(recurs);
}

/** @param right columns that are aligned at their end */
function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[],
): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    row
      .map((text, column) => {
        const width = widths[column] ?? 0;
        return right.includes(column) ? text.padStart(width) : text.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  return all.map(line).join("\n");
}
