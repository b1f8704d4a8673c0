import { AdminClient, AdminError } from "./admin-client.ts";
import {
  parseStorageArguments,
  type StorageCommand,
  type StorageOptions,
  UsageError,
  usage,
} from "./storage-arguments.ts";
import { type AlarmLine, alarmsTable, entriesTable, valueText } from "./storage-display.ts";

/** `bun run storage …`: looks at what objects have stored, and changes it, through a live host. */

/** What a command says. `json` is for programs, `text` for a person; undefined where a program needs no word. */
interface Outcome {
  readonly text: string;
  readonly json: unknown;
  /** Said to a person beside the answer. */
  readonly note?: string;
  readonly exitCode?: number;
}

const alarmsLimit = "1000";

for (const stream of [process.stdout, process.stderr]) stream.on("error", ignore); // Whoever reads has read enough, as `head` does.
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseStorageArguments(args, process.env);
    if (options === "help") return await print(process.stdout, usage);
    const { text, json, note, exitCode = 0 } = await run(options);
    await print(process.stdout, options.isJson ? `${JSON.stringify(json)}\n` : `${text}\n`);
    if (note !== undefined && !options.isJson) await print(process.stderr, `${note}\n`);
    return exitCode;
  } catch (error) {
    if (error instanceof UsageError) {
      await print(process.stderr, `${error.message}\nWhat may be given: bun run storage --help\n`);
      return 2;
    }
    if (!(error instanceof AdminError)) throw error;
    await print(process.stderr, `${error.message}\n`);
    return 1;
  }
}

function run({ command, url, token, isJson }: StorageOptions): Promise<Outcome> {
  const client = new AdminClient(url, token);
  switch (command.name) {
    case "state":
    case "get":
      return get(client, command, isJson);
    case "list":
      return list(client, command, isJson);
    case "put":
      return put(client, command);
    case "delete":
      return remove(client, command);
    case "alarms":
      return alarms(client, command);
    case "retry":
      return retry(client, command);
  }
}

async function get(
  client: AdminClient,
  command: Extract<StorageCommand, { name: "get" | "state" }>,
  asJson: boolean,
): Promise<Outcome> {
  const call =
    command.name === "state" ? { call: "state" } : { call: "storage", query: { key: command.key } };
  const { value } = await client.object(command.object, { method: "GET", ...call, asJson });
  return { text: valueText(value, hasColors()), json: value };
}

async function list(
  client: AdminClient,
  { object, range }: Extract<StorageCommand, { name: "list" }>,
  asJson: boolean,
): Promise<Outcome> {
  const query = { ...range, reverse: range.reverse ? "1" : undefined };
  const answer = await client.object(object, { method: "GET", call: "storage", query, asJson });
  const entries = answer.value as [string, unknown][]; // what the call answers
  const lastKey = entries.at(-1)?.[0];
  const goOn = range.reverse ? `--end ${quoted(lastKey)}` : `--start ${quoted(lastKey)}`;
  return {
    text: entries.length === 0 ? `${object.key} has no such keys.` : entriesTable(entries),
    json: entries,
    ...(answer.hasMore && { note: `There are more: go on with ${goOn}, or raise --limit.` }),
  };
}

async function put(
  client: AdminClient,
  { object, key, json }: Extract<StorageCommand, { name: "put" }>,
): Promise<Outcome> {
  await client.object(object, { method: "PUT", call: "storage", query: { key }, body: json });
  return { text: `${object.key} has stored ${quoted(key)}.`, json: { stored: true } };
}

async function remove(
  client: AdminClient,
  { object, key }: Extract<StorageCommand, { name: "delete" }>,
): Promise<Outcome> {
  const { value } = await client.object(object, { method: "DELETE", call: "storage", query: { key } });
  const { deleted } = value as { deleted: boolean }; // what the call answers
  const text = deleted
    ? `${object.key} has deleted ${quoted(key)}.`
    : `${object.key} has nothing under ${quoted(key)}.`;
  return { text, json: { deleted } };
}

async function alarms(
  client: AdminClient,
  { object, isParkedOnly }: Extract<StorageCommand, { name: "alarms" }>,
): Promise<Outcome> {
  const answer = object
    ? await client.object(object, { method: "GET", call: "alarms" })
    : await client.alarms({ limit: alarmsLimit, ...(isParkedOnly && { parked: "1" }) });
  const { alarms } = answer.value as { alarms: AlarmLine[] }; // what both calls answer
  const shown = alarms.filter(({ isParked }) => isParked || !isParkedOnly);
  const what = isParkedOnly ? "parked alarms" : "alarms";
  const text = shown.length === 0 ? `There are no ${what}.` : alarmsTable(shown, Date.now());
  return {
    text,
    json: shown,
    ...(!object && alarms.length >= Number(alarmsLimit) && { note: `These are the first ${alarmsLimit}.` }),
  };
}

async function retry(
  client: AdminClient,
  { object, alarm }: Extract<StorageCommand, { name: "retry" }>,
): Promise<Outcome> {
  const { value } = await client.object(object, {
    method: "POST",
    call: "alarms/retry",
    query: { name: alarm },
  });
  const { retried } = value as { retried: boolean }; // what the call answers
  if (retried) return { text: `Alarm ${quoted(alarm)} of ${object.key} is due now.`, json: { retried } };
  const text = `Alarm ${quoted(alarm)} of ${object.key} is not parked: it fires by itself. "storage alarms ${object.key}" says when.`;
  return { text, json: { retried }, exitCode: 1 };
}

function quoted(text: string | undefined): string {
  return JSON.stringify(text ?? "");
}

function hasColors(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}

/** Resolves when all of it is written: a process that ends before would cut it off. */
function print(stream: NodeJS.WriteStream, text: string): Promise<number> {
  return new Promise((resolve) => stream.write(text, () => resolve(0)));
}

function ignore(): void {
  // There is nobody to tell.
}
