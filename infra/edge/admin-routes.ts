import { isSystemCall, systemRequest } from "../host/system-calls.ts";
import type { AlarmReport, StoredObjects } from "../lease/stored-objects.ts";
import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type ObjectRef, objectRef, objectRefFromSegment } from "../lib/object-ref.ts";
import type { MoveWish } from "../placement/move-targets.ts";
import type { AdminToken } from "./admin-token.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type Metric, metricsContentType, metricsText } from "./metrics.ts";
import type { OwnerCalls } from "./owner-calls.ts";
import { systemPrefix } from "./system-routes.ts";

export interface AdminRoutesSetup {
  /** What an operator must show. */
  readonly token: Pick<AdminToken, "check">;
  readonly dispatcher: Pick<Dispatcher, "system">;
  readonly owners: Pick<OwnerCalls, "move">;
  readonly storedObjects: Pick<StoredObjects, "alarms">;
  readonly metrics: () => readonly Metric[];
  readonly log: Log;
}

const objectsPath = `${systemPrefix}objects/`;
const alarmsPath = `${systemPrefix}alarms`;
const metricsPath = `${systemPrefix}metrics`;
/** Fields of a client's request that a call takes along. Its token is not one of them. */
const passedFields = ["accept", "content-type", "content-length"];

/** Alarms in one answer, unless asked for otherwise, and at most. */
const alarmsLimit = 100;
const alarmsLimitMax = 1000;

/** Of the body that says where an object is to move. */
const wishCharsMax = 1000;

/**
 * The operator's way to objects and to what they have stored, for whoever holds the token:
 *
 *     /-/objects/<class>/<id>/<call>    a call to the object's owner, wherever it is: `host/system-calls.ts` lists them
 *     POST /-/objects/<class>/<id>/move    { "region": "nrt" } or { "host": "<host id>" }: answered after the move. An object
 *                                          that lives nowhere is started first, like by any other call
 *     GET /-/alarms?parked=1&limit=     alarms of all objects: the parked ones first, then by when they are due
 *     GET /-/metrics                    figures of this host, in Prometheus's text format
 *
 * Who does not hold it learns nothing, not even which addresses there are.
 */
export class AdminRoutes {
  readonly #setup: AdminRoutesSetup;

  constructor(setup: AdminRoutesSetup) {
    this.#setup = setup;
  }

  /** @param target raw path and query */
  isFor(target: string): boolean {
    const path = pathOf(target);
    return target.startsWith(objectsPath) || path === alarmsPath || path === metricsPath;
  }

  /** Never rejects. */
  async handle(request: Request, target: string): Promise<Response> {
    try {
      this.#setup.token.check(request);
      if (pathOf(target) === alarmsPath) return await this.#alarms(request, target);
      if (pathOf(target) === metricsPath) return this.#metrics(request);
      return await this.#call(request, target);
    } catch (thrown) {
      const error = asStatefulError(thrown);
      if (error.code === "internal") this.#setup.log.error("admin.failed", { error: error.cause ?? error });
      return refusal(error);
    }
  }

  async #call(request: Request, target: string): Promise<Response> {
    const [className = "", segment = "", ...rest] = pathOf(target).slice(objectsPath.length).split("/");
    const ref = objectRefFromSegment(className, segment);
    const call = rest.join("/");
    const { method } = request;
    if (method === "POST" && call === "move") return this.#move(request, ref);
    // Checked here as well: what nobody can answer must not start an object.
    if (!isSystemCall(method, call)) throw noSuchCall(method, call);
    const { dispatcher, log } = this.#setup;
    if (method !== "GET") log.info("admin.call", { object: ref.key, method, call });
    return dispatcher.system(ref, callOf(request, ref, `${call}${target.slice(pathOf(target).length)}`));
  }

  async #move(request: Request, ref: ObjectRef): Promise<Response> {
    const wish = wishOf(await request.text());
    const { log, owners } = this.#setup;
    log.info("admin.call", { object: ref.key, method: "POST", call: "move", ...wish });
    const { from, to, epoch, pauseMs } = await owners.move(ref, wish);
    return Response.json({ from, to, epoch, pauseMs }, { headers: { "cache-control": "no-store" } });
  }

  #metrics(request: Request): Response {
    if (request.method !== "GET") throw new StatefulError("not_found", "Only GET is answered here.");
    const headers = { "content-type": metricsContentType, "cache-control": "no-store" };
    return new Response(metricsText(this.#setup.metrics()), { headers });
  }

  async #alarms(request: Request, target: string): Promise<Response> {
    if (request.method !== "GET") throw new StatefulError("not_found", "Only GET is answered here.");
    const query = new URLSearchParams(target.slice(pathOf(target).length));
    const isParkedOnly = flagOf(query, "parked");
    const limit = limitOf(query);
    const reports = await this.#setup.storedObjects.alarms(limit);
    const alarms = reports.filter(({ parked }) => parked || !isParkedOnly).map(alarmForm);
    return Response.json({ alarms }, { headers: { "cache-control": "no-store" } });
  }
}

/** The client's request as a call, with its own body and its signal, and nothing else of it. */
function callOf(request: Request, ref: ObjectRef, call: string): Request {
  const headers = new Headers();
  for (const name of passedFields) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const { method, signal, body } = request;
  if (body === null) return systemRequest(ref, method, call, { headers, signal });
  return systemRequest(ref, method, call, { headers, signal, body, duplex: "half" } as RequestInit); // duplex: Fetch standard
}

function wishOf(body: string): MoveWish {
  const { region, host } = jsonFields(body);
  if (isPlaceName(region) && host === undefined) return { region };
  if (isPlaceName(host) && region === undefined) return { hostId: host };
  const message = 'Say where the object is to move: {"region": "nrt"}, or {"host": "<host id>"}, as JSON.';
  throw new StatefulError("bad_request", message);
}

function jsonFields(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = body.length > wishCharsMax ? undefined : JSON.parse(body);
    return { ...(value as object | null | undefined) }; // Of anything else there are no such fields.
  } catch {
    return {};
  }
}

function isPlaceName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= 256;
}

function alarmForm({ className, id, name, dueAtMs, attempt, schedule, parked, lastError }: AlarmReport) {
  return {
    object: objectRef(className, id).key,
    name,
    dueAt: new Date(dueAtMs).toISOString(),
    attempt,
    recurs: recurs(schedule),
    isParked: parked,
    lastError: lastError === "" ? null : lastError,
  };
}

/** The directory keeps it as JSON; an operator may have written the row by hand. */
function recurs(schedule: string): unknown {
  try {
    return schedule === "" ? null : JSON.parse(schedule);
  } catch {
    return schedule;
  }
}

function limitOf(query: URLSearchParams): number {
  const text = query.get("limit");
  if (text === null) return alarmsLimit;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= alarmsLimitMax) return limit;
  const message = `limit is "${text.slice(0, 80)}"; it must be a whole number from 1 to ${alarmsLimitMax}.`;
  throw new StatefulError("bad_request", message);
}

function flagOf(query: URLSearchParams, name: string): boolean {
  const text = query.get(name);
  if (text === null || text === "0" || text === "false") return false;
  if (text === "1" || text === "true") return true;
  throw new StatefulError("bad_request", `${name} is "${text.slice(0, 80)}"; it must be 1 or 0.`);
}

function noSuchCall(method: string, call: string): StatefulError {
  const known =
    "GET state, GET/PUT/DELETE storage, GET/DELETE alarms, POST alarms/retry, POST wake and POST move, each below /-/objects/<class>/<id>/";
  return new StatefulError(
    "not_found",
    `There is no call "${method} ${call.slice(0, 80)}". There are ${known}.`,
  );
}

function refusal(error: StatefulError): Response {
  const response = problem(error);
  if (error.code === "unauthorized") response.headers.set("www-authenticate", "Bearer");
  return response;
}

function pathOf(target: string): string {
  return target.split("?", 1)[0] ?? "";
}
