import { parseArgs, type ParseArgsConfig } from "node:util";
import { StatefulError } from "../../infra/lib/errors.ts";
import { type ObjectRef, objectRefFromSegment } from "../../infra/lib/object-ref.ts";
import { devAdminToken } from "../server/config.ts";

export type StorageCommand =
  | { readonly name: "state"; readonly object: ObjectRef }
  | { readonly name: "get"; readonly object: ObjectRef; readonly key: string }
  | { readonly name: "list"; readonly object: ObjectRef; readonly range: ListRange }
  | { readonly name: "put"; readonly object: ObjectRef; readonly key: string; readonly json: string }
  | { readonly name: "delete"; readonly object: ObjectRef; readonly key: string }
  | { readonly name: "alarms"; readonly object: ObjectRef | undefined; readonly isParkedOnly: boolean }
  | { readonly name: "retry"; readonly object: ObjectRef; readonly alarm: string };

export interface ListRange {
  readonly prefix: string | undefined;
  readonly start: string | undefined;
  readonly end: string | undefined;
  readonly limit: string | undefined;
  readonly reverse: boolean;
}

export interface StorageOptions {
  readonly command: StorageCommand;
  /** Of any host, without a slash at the end. */
  readonly url: string;
  readonly token: string;
  /** For a program instead of a person. */
  readonly isJson: boolean;
}

/** A command line that cannot be followed. The message says what may stand there. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const defaultUrl = "http://localhost:4001";

export const usage = `What objects have stored, seen and changed through a live host.

  bun run storage get    <class>/<id> [key]          one value; without a key the object's state
  bun run storage list   <class>/<id> [range]        keys with their values, in order
  bun run storage put    <class>/<id> <key> <json>   stores a value
  bun run storage delete <class>/<id> <key>          deletes a key
  bun run storage alarms [<class>/<id>] [--parked]   alarms, of all objects or of one
  bun run storage retry  <class>/<id> <alarm>        a parked alarm is due now, with all its attempts

Range:
  --prefix <text>   keys that begin with it
  --start <key>     the first key that may be in the answer
  --end <key>       the first key, in order, that may not
  --limit <n>       so many at most (1000)
  --reverse         from the last key to the first

Options:
  --url <url>       any host of the cluster (STATEFUL_URL, else ${defaultUrl}, where \`bun run dev\` listens)
  --token <token>   its admin token (STATEFUL_ADMIN_TOKEN, else that of \`bun run dev\`)
  --json            one line of JSON, for programs
  --help            this text

An object is written as in its address: counter/a, room/caf%C3%A9. A key that begins with a dash follows "--".
A call starts an object that sleeps, and goes through its live copy: nothing is read or written behind its back.
Exit codes: 0 done, 1 refused or not there, 2 the command line is wrong.
`;

const flags = {
  prefix: { type: "string" },
  start: { type: "string" },
  end: { type: "string" },
  limit: { type: "string" },
  reverse: { type: "boolean", default: false },
  parked: { type: "boolean", default: false },
  url: { type: "string" },
  token: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const satisfies ParseArgsConfig["options"];

type Flags = ReturnType<typeof parsed>["values"];
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Understands a command line, without the program's name.
 *
 * @throws UsageError where it makes no sense
 */
export function parseStorageArguments(args: readonly string[], env: Environment): StorageOptions | "help" {
  const { values, positionals } = parsed(args);
  const [name, ...words] = positionals;
  if (values.help || name === undefined || name === "help") return "help";
  const command = commandOf(name, words, values);
  checkFlags(command.name, values);
  return {
    command,
    url: urlOf(values.url ?? (env.STATEFUL_URL || defaultUrl)),
    token: values.token ?? (env.STATEFUL_ADMIN_TOKEN || devAdminToken),
    isJson: values.json,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true });
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split(". ");
    throw new UsageError(`${reason}.`);
  }
}

function commandOf(name: string, words: readonly string[], values: Flags): StorageCommand {
  const [first, second, third] = words;
  switch (name) {
    case "get": {
      count(name, words, 1, 2);
      const object = objectOf(first);
      return second === undefined ? { name: "state", object } : { name, object, key: keyOf(second) };
    }
    case "list": {
      count(name, words, 1, 1);
      const { prefix, start, end, limit, reverse } = values;
      return { name, object: objectOf(first), range: { prefix, start, end, limit: limitOf(limit), reverse } };
    }
    case "put":
      count(name, words, 3, 3);
      return { name, object: objectOf(first), key: keyOf(second), json: jsonOf(third) };
    case "delete":
      count(name, words, 2, 2);
      return { name, object: objectOf(first), key: keyOf(second) };
    case "alarms":
      count(name, words, 0, 1);
      return { name, object: first === undefined ? undefined : objectOf(first), isParkedOnly: values.parked };
    case "retry":
      count(name, words, 2, 2);
      return { name, object: objectOf(first), alarm: keyOf(second) };
    default:
      throw new UsageError(`There is no command "${name}": get, list, put, delete, alarms and retry.`);
  }
}

const forms: Readonly<Record<string, string>> = {
  get: "get <class>/<id> [key]",
  list: "list <class>/<id>",
  put: "put <class>/<id> <key> <json>",
  delete: "delete <class>/<id> <key>",
  alarms: "alarms [<class>/<id>]",
  retry: "retry <class>/<id> <alarm>",
};

function count(name: string, { length }: readonly string[], min: number, max: number): void {
  if (length < min) throw new UsageError(`Something is missing: storage ${forms[name]}`);
  if (length > max)
    throw new UsageError(`That is too much: storage ${forms[name]}. Put quotes around what has blanks.`);
}

/** What is left unnoticed would answer another question than the one that was asked. */
function checkFlags(command: StorageCommand["name"], values: Flags): void {
  const given = (names: readonly (keyof Flags)[]) => names.find((name) => values[name]);
  const range = command === "list" ? undefined : given(["prefix", "start", "end", "limit", "reverse"]);
  if (range) throw new UsageError(`--${range} belongs to "list".`);
  if (command !== "alarms" && values.parked) throw new UsageError('--parked belongs to "alarms".');
}

/** As in a URL or a log: the id may be percent-encoded. */
function objectOf(text = ""): ObjectRef {
  const slash = text.indexOf("/");
  if (slash === -1)
    throw new UsageError(`"${text}" is no object. An object is <class>/<id>, as in counter/a.`);
  try {
    return objectRefFromSegment(text.slice(0, slash), text.slice(slash + 1));
  } catch (error) {
    if (error instanceof StatefulError) throw new UsageError(`"${text}" is no object. ${error.message}`);
    throw error;
  }
}

function keyOf(text = ""): string {
  if (text !== "") return text;
  throw new UsageError("A key, or the name of an alarm, has one character or more.");
}

function jsonOf(text = ""): string {
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      `${text} is not JSON (${reason}). Text has quotes of its own: '"${text.replaceAll('"', "")}"'`,
    );
  }
}

function limitOf(text: string | undefined): string | undefined {
  if (text === undefined || /^[1-9]\d*$/.test(text)) return text;
  throw new UsageError(`--limit is "${text}"; it must be a whole number of 1 or more.`);
}

function urlOf(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return new URL(text).origin;
  throw new UsageError(`--url is "${text}"; it must be the address of a host, as in ${defaultUrl}.`);
}
