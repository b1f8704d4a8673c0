import { StatefulError } from "../lib/errors.ts";
import { jsonForm } from "../lib/json-form.ts";
import { internalOrigin, type ObjectEvent } from "../object/event.ts";
import type { AlarmInfo } from "../storage/alarm-entry.ts";
import type { ListOptions } from "../storage/object-storage.ts";
import { decodeValue, encodeValue } from "../storage/storage-codec.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { Activation } from "./activation.ts";
import type { HttpEvent } from "./open-event.ts";

/**
 * Calls to an object that the machinery serves in place of the author's class: to wake it, and to look at what it has stored
 * and change that. They come to the owner like any other event and pass the same gates, so a live object sees at once what
 * an operator has written, and an answer leaves when it is durable.
 *
 * Only a host makes such an event (`Dispatcher.system`). Nothing that a client writes into a path or a header becomes one.
 *
 *     POST   wake                    alarms are looked at again: 204
 *     GET    state                   what a handler finds in `state`
 *     GET    storage?key=            one value; 404 where there is none
 *     GET    storage?prefix=&start=&end=&limit=&reverse=    [[key, value], …]
 *     PUT    storage?key=            the body is the value: 204
 *     DELETE storage?key=            { deleted }
 *     GET    alarms                  { alarms }
 *     DELETE alarms?name=            { deleted }
 *     POST   alarms/retry?name=      { retried }: a parked alarm is due now
 *
 * Values travel as MessagePack, in the form in which they are stored, or, with `Accept: application/json`, as JSON
 * (`lib/json-form.ts` has how). A body is either of the two, as its Content-Type says.
 */
const calls: Readonly<Record<string, SystemCall>> = {
  "POST wake": wake,
  "GET state": readState,
  "GET storage": readStorage,
  "PUT storage": writeValue,
  "DELETE storage": deleteValue,
  "GET alarms": listAlarms,
  "DELETE alarms": deleteAlarm,
  "POST alarms/retry": retryAlarm,
};

/** Entries in one answer of a list, unless asked for otherwise, and at most. */
export const listLimit = 1000;
export const listLimitMax = 10_000;

/** Set, to `1`, where a list was cut by its limit. */
export const hasMoreHeader = "stateful-has-more";

export const messagePackType = "application/msgpack";
const jsonType = "application/json";

type SystemCall = (call: CallContext) => Response | Promise<Response>;

interface CallContext {
  readonly activation: Activation;
  readonly event: HttpEvent;
  readonly request: Request;
  readonly query: URLSearchParams;
}

/** Whether there is such a call, whatever its parameters. */
export function isSystemCall(method: string, call: string): boolean {
  return Object.hasOwn(calls, `${method} ${call}`);
}

/** @param call with its query: `storage?key=a` */
export function systemRequest(ref: ObjectRef, method: string, call: string, init: RequestInit = {}): Request {
  return new Request(`${internalOrigin}/${ref.key}/${call}`, { ...init, method });
}

/** To be given to `Activation.fetch` in the place of the class. */
export async function serveSystemCall(request: Request, given: ObjectEvent): Promise<Response> {
  const event = given as HttpEvent; // Every event that reaches an activation was made by the dispatcher, which makes nothing else.
  const name = event.path.split("/").slice(3).join("/");
  const call = isSystemCall(request.method, name) ? calls[`${request.method} ${name}`] : undefined;
  if (call === undefined)
    throw new StatefulError("not_found", `There is no system call "${request.method} ${name}".`);
  const query = new URL(event.url).searchParams;
  return call({ activation: event.object, event, request, query });
}

/** As the first hook of a class does, after parsing. */
async function enter({ activation, event }: CallContext): Promise<void> {
  if (activation.runtime.definition.concurrency === "serial") await activation.enter(event);
  else if (activation.isGateShut) await activation.waitAtGate(event);
}

// -- alarms

/** Does not wait for its turn: it touches nothing that is the author's, and a long handler needs no second call to wake it. */
function wake({ activation }: CallContext): Response {
  if (activation.runtime.definition.onAlarm === undefined) throw nobodyToCall(activation.ref);
  if (activation.isLive) activation.openedStore.alarms.start();
  return done();
}

async function listAlarms(context: CallContext): Promise<Response> {
  await enter(context);
  return json({ alarms: context.activation.openedStore.alarms.list().map(alarmForm) });
}

async function deleteAlarm(context: CallContext): Promise<Response> {
  const name = required(context.query, "name");
  await enter(context);
  return json({ deleted: context.activation.openedStore.alarms.delete(name) });
}

async function retryAlarm(context: CallContext): Promise<Response> {
  const { activation, query } = context;
  const name = required(query, "name");
  await enter(context);
  if (activation.runtime.definition.onAlarm === undefined) throw nobodyToCall(activation.ref);
  const { alarms } = activation.openedStore;
  if (alarms.get(name) === undefined)
    throw new StatefulError("not_found", `${activation.ref.key} has no alarm "${shown(name)}".`);
  return json({ retried: alarms.retry(name) });
}

function alarmForm({ name, dueAt, attempt, schedule, payload, parked, lastError }: AlarmInfo) {
  return {
    name,
    dueAt: dueAt.toISOString(),
    attempt,
    recurs: schedule ?? null,
    isParked: parked,
    lastError: lastError ?? null,
    payload: jsonForm(decodeValue(payload)),
  };
}

function nobodyToCall(ref: ObjectRef): StatefulError {
  const message = `object("${ref.className}") has no onAlarm, so nobody can be called for the alarms of ${ref.key}.`;
  return new StatefulError("not_found", message);
}

// -- state and storage

async function readState(context: CallContext): Promise<Response> {
  await enter(context);
  const { activation, request } = context;
  return answer(request, activation.state, `The state of ${activation.ref.key}`);
}

async function readStorage(context: CallContext): Promise<Response> {
  const { query, event, request, activation } = context;
  const key = query.get("key");
  const range = key === null ? rangeOf(query) : undefined;
  await enter(context);
  const { storage } = activation.openedStore;
  if (range) {
    const { limit } = range;
    const found = [...(await storage.list(event, { ...range, limit: limit + 1 }))];
    const response = answer(request, found.slice(0, limit), "The answer");
    if (found.length > limit) response.headers.set(hasMoreHeader, "1");
    return response;
  }
  const value = await storage.get(event, required(query, "key"));
  if (value === undefined)
    throw new StatefulError("not_found", `${activation.ref.key} has nothing under "${shown(key ?? "")}".`);
  return answer(request, value, "The value");
}

async function writeValue(context: CallContext): Promise<Response> {
  const { activation, event, query, request } = context;
  const key = required(query, "key");
  const value = await sentValue(request);
  await enter(context);
  await activation.openedStore.storage.put(event, key, value);
  return done();
}

async function deleteValue(context: CallContext): Promise<Response> {
  const { activation, event, query } = context;
  const key = required(query, "key");
  await enter(context);
  return json({ deleted: await activation.openedStore.storage.delete(event, key) });
}

// -- what comes in

function rangeOf(query: URLSearchParams): ListOptions & { readonly limit: number } {
  const prefix = query.get("prefix");
  const start = query.get("start");
  const end = query.get("end");
  return {
    ...(prefix !== null && { prefix }),
    ...(start !== null && { start }),
    ...(end !== null && { end }),
    limit: limitOf(query),
    reverse: flagOf(query, "reverse"),
  };
}

function limitOf(query: URLSearchParams): number {
  const text = query.get("limit");
  if (text === null) return listLimit;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= listLimitMax) return limit;
  throw bad(`limit is "${shown(text)}"; it must be a whole number from 1 to ${listLimitMax}.`);
}

function flagOf(query: URLSearchParams, name: string): boolean {
  const text = query.get(name);
  if (text === null || text === "0" || text === "false") return false;
  if (text === "1" || text === "true") return true;
  throw bad(`${name} is "${shown(text)}"; it must be 1 or 0.`);
}

function required(query: URLSearchParams, name: string): string {
  const text = query.get(name);
  if (text) return text;
  throw bad(`This call needs "?${name}=…".`);
}

async function sentValue(request: Request): Promise<unknown> {
  const type = (request.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (type !== jsonType && type !== messagePackType)
    throw bad(
      `The body is "${shown(type ?? "")}"; its Content-Type must be ${jsonType} or ${messagePackType}.`,
    );
  const body = await bodyOf(request);
  try {
    return type === jsonType
      ? JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
      : decodeValue(body);
  } catch (cause) {
    throw new StatefulError("bad_request", `The body is not ${type === jsonType ? "JSON" : "MessagePack"}.`, {
      cause,
    });
  }
}

async function bodyOf(request: Request): Promise<Uint8Array> {
  try {
    return new Uint8Array(await request.arrayBuffer());
  } catch (cause) {
    if (cause instanceof StatefulError) throw cause;
    throw new StatefulError("bad_request", "The body broke off.", { cause });
  }
}

function bad(message: string): StatefulError {
  return new StatefulError("bad_request", message);
}

function shown(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

// -- what goes out

function answer(request: Request, value: unknown, what: string): Response {
  if (request.headers.get("accept")?.includes(jsonType)) return json(jsonForm(value));
  try {
    // What this encodes has been stored, or is a state, which has limits of its own.
    const bytes = encodeValue(value, what, Number.POSITIVE_INFINITY);
    return new Response(new Uint8Array(bytes), { headers: { ...unkept, "content-type": messagePackType } });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StatefulError("bad_request", `${reason} Ask with "Accept: ${jsonType}".`, { cause });
  }
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value ?? null), { headers: { ...unkept, "content-type": jsonType } });
}

function done(): Response {
  return new Response(null, { status: 204, headers: unkept });
}

const unkept = { "cache-control": "no-store" };
