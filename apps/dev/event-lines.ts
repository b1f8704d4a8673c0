import { type FailureReport, isFailureReport } from "./failure-report.ts";
import type { HostEvent } from "./host-messages.ts";
import type { Palette } from "./palette.ts";

/** What a line of the screen says, before it is laid out. */
export interface EventText {
  /** A region's code, or `all`. */
  readonly region: string;
  readonly level: HostEvent["level"];
  /** Two or three words: "object started". */
  readonly title: string;
  /** What it is about: `counter/a`. */
  readonly subject: string;
  /** Further lines, indented below. */
  readonly details?: readonly string[];
}

const titleWidth = 16;
const regionWidth = 3;
/** Longer texts are cut: a line is to be read, and the log of a production host keeps everything. */
const textLengthMax = 400;

/** Lays one event out in columns: time, region, what, about what. */
export function eventLines(
  event: EventText,
  at: Date,
  regions: readonly string[],
  palette: Palette,
): string[] {
  const time = palette.dim(at.toTimeString().slice(0, 8));
  const place = event.region.padEnd(regionWidth);
  const index = regions.indexOf(event.region);
  const region = index < 0 ? palette.bold(place) : palette.region(index, place);
  const title = paintLevel(event, palette);
  const head = [time, region, title, cut(event.subject)].join("  ").trimEnd();
  const indent = " ".repeat("00:00:00".length + regionWidth + 2 * 2 + 2);
  return [head, ...(event.details ?? []).map((line) => palette.dim(indent + cut(line)))];
}

function paintLevel({ title, level }: EventText, palette: Palette): string {
  const text = title.padEnd(titleWidth);
  if (level === "error") return palette.red(text);
  return level === "warn" ? palette.yellow(text) : text;
}

function cut(text: string): string {
  return text.length > textLengthMax ? `${text.slice(0, textLengthMax)}…` : text;
}

// -- from a host's log to words

/** `link.dial_failed` and `link dial failed` are one event, whichever way it is spelled. */
export function eventName(event: HostEvent): string {
  return event.name.replaceAll(/[._]/g, " ");
}

/** Said in another line already, or of no use to the author of a class. */
const hidden = new Set(["host started", "host stopped", "class loaded", "class removed", "link refused"]);

/** Words for an event, or undefined where there is nothing to show. */
export function eventText(region: string, event: HostEvent): EventText | undefined {
  const name = eventName(event);
  if (hidden.has(name)) return undefined;
  const { level, fields } = event;
  const text = (subject: string, details: readonly string[] = []) => ({
    region,
    level,
    title: name,
    subject,
    details,
  });
  switch (name) {
    case "object started":
      return text(string(fields.object));
    case "object stopped":
      return text(`${string(fields.object)}  (${string(fields.reason)})`);
    case "object ended":
      return text(`${string(fields.object)}  ${string(fields.cause)}`);
    case "handler failed":
      return handlerFailed(region, event);
    case "session opened":
      // The first one of a process is part of its start.
      return fields.previous === undefined
        ? undefined
        : text("objects that nobody took over meanwhile go on");
    case "session over":
      return text(`(${string(fields.reason)})  its objects wait for the next session`);
    case "link opened":
      return { ...text(`to ${peerRegion(fields)}`), title: "link up" };
    case "link closed":
      return { ...text(`to ${peerRegion(fields)}`), title: "link down" };
    case "link dial failed":
      // The first of a row; the others follow at growing intervals and say the same.
      return fields.failures === 1 ? text(messageOf(fields.error)) : undefined;
    default:
      return anyEvent(region, event);
  }
}

function handlerFailed(region: string, { level, fields }: HostEvent): EventText {
  const { object, path, error, errorId } = fields;
  // The path begins with the object's class and id.
  const where = path === undefined ? string(object) : string(path).replace(/^\//, "");
  const details = isFailureReport(error) ? error.details : [];
  return {
    ...{ region, level, title: "handler failed", subject: `${where}  ${messageOf(error)}` },
    details: [...details, `answered with errorId ${string(errorId)}`],
  };
}

function messageOf(error: unknown): string {
  return isFailureReport(error) ? error.message : string(error);
}

/** Events that nobody has found words for yet: the name and the fields. */
function anyEvent(region: string, event: HostEvent): EventText {
  const details: string[] = [];
  const parts: string[] = [];
  for (const [name, value] of Object.entries(event.fields)) {
    if (isFailureReport(value)) {
      parts.unshift(value.message);
      if (event.level === "error") details.push(...value.details);
    } else if (name !== "session" && value !== undefined) {
      parts.push(`${name}=${string(value)}`);
    }
  }
  return { region, level: event.level, title: eventName(event), subject: parts.join("  "), details };
}

export function peerRegion(fields: HostEvent["fields"]): string {
  const { region, peer } = fields;
  if (typeof region === "string") return region;
  if (typeof peer === "object" && peer !== null && "region" in peer) return string(peer.region);
  return string(peer);
}

function string(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(Math.round(value * 10) / 10);
  return value === undefined ? "" : JSON.stringify(value);
}

/** A failure below a title of its own. */
export function failureText(region: string, title: string, report: FailureReport): EventText {
  return { region, level: "error", title, subject: report.message, details: report.details };
}
