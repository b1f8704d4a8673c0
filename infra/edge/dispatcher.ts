import type { Activation } from "../host/activation.ts";
import { type HttpEvent, OpenEvent } from "../host/open-event.ts";
import { serveSystemCall } from "../host/system-calls.ts";
import { type CancelTimer, type Clock, withTimeLimit } from "../lib/clock.ts";
import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { HostRecord } from "../lease/directory.ts";
import type { Link } from "../link/link.ts";
import type { CompiledFetch } from "../object/object.ts";
import { UpgradeSlot } from "../object/event.ts";
import type { Origins } from "../object/origins.ts";
import type { EdgeName, EdgePorts, UpgradeHead } from "../host/edge-port.ts";
import { headBytesOf } from "../host/waiting-heads.ts";
import { upgradeRequest } from "../host/upgrade-request.ts";
import { attachedEdge } from "./attached-edges.ts";
import { limitBody } from "./body-limit.ts";
import type { EdgeSockets } from "./edge-sockets.ts";
import { forward, ForwardsUnderWay } from "./forward-client.ts";
import { type ForwardHead, whyNotForwarded } from "./forward-protocol.ts";
import { forwardedHeaders } from "./http-fields.ts";
import { forwardedBody, restored } from "./kept-body.ts";
import { parseObjectTarget, pathAndQuery, quickKey } from "./object-target.ts";
import { activating, type Location, OwnerSearch, type SearchSetup } from "./owner-search.ts";
import { OwnerWait } from "./owner-wait.ts";
import { checkHead, upgradeHeadOf } from "./upgrade-head.ts";
import { type Frontend, reserve, wantedKind, type WantedUpgrade } from "./wanted-upgrade.ts";

export interface DispatcherSetup extends SearchSetup {
  /** Rejects with `owner_unreachable` where there is no link and none can be had. */
  readonly links: { to(host: HostRecord): Promise<Link> };
  readonly sockets: EdgeSockets;
  readonly ports: EdgePorts & { readonly self: EdgeName };
  /** What the class asks for where its owner is lost; "fail" where this host does not run it. */
  readonly onOwnerLost: (className: string) => "fail" | "wait";
  /** Those that the class names; the owner looks as well, where this host does not run it. */
  readonly originsOf: (className: string) => Pick<Origins, "check"> | undefined;
  readonly leaseTtlMs: number;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * How long an edge looks for a host: everything it asks the directory, every dial, and when it makes its last offer. Not
   * how long the object's own `onStart` and `onStop` run, here or, bounded by `acceptTimeoutMs`, at the host it is offered to.
   */
  readonly placementBudgetMs: number;
}

/** Offers for one request. Each stale answer costs one; more than these means that hosts disagree. */
const offersMax = 8;

/**
 * The edge of a host: decides once which object a request is for, finds the owner and carries the request there.
 * `undefined` from `handle` means that the connection has become a socket and needs no response.
 */
export class Dispatcher {
  readonly #setup: DispatcherSetup;
  readonly #underWay = new ForwardsUnderWay();

  constructor(setup: DispatcherSetup) {
    this.#setup = setup;
  }

  /** The leases of these processes are over: whoever waits for an answer of theirs waits in vain. */
  ownersGone(processes: ReadonlySet<string>): void {
    this.#underWay.ownersGone(processes);
  }

  /** Serves one request of a client. Never rejects. The live object of this host is served without a promise of ours. */
  handle(request: Request, frontend: Frontend): Response | undefined | Promise<Response | undefined> {
    try {
      const target = pathAndQuery(request.url);
      const key = quickKey(target);
      const activation = key === undefined ? undefined : this.#setup.table.live(key);
      if (activation && isPlain(request)) return serveHere(request, new OpenEvent(activation, target));
      const { ref } = parseObjectTarget(request.url);
      const asked = { ref, target, request, chain: noCallers, isSystem: false };
      return this.#dispatch(asked, this.#wantedUpgrade(asked, frontend)).catch((thrown) =>
        this.#problem(thrown),
      );
    } catch (thrown) {
      return this.#problem(thrown);
    }
  }

  /**
   * A subscription on a connection for many: the upgrade that its head describes, which nothing but this call can ask for. The
   * frontend connects its socket. Never rejects.
   *
   * @param headBytes what the head takes that is nobody else's
   */
  async subscribe(
    ref: ObjectRef,
    { head, headBytes, signal }: WantedSubscription,
    frontend: Frontend,
  ): Promise<Response | undefined> {
    try {
      checkHead(head);
      const request = upgradeRequest(head, signal);
      this.#setup.originsOf(ref.className)?.check(request);
      const asked = { ref, target: head.target, request, chain: noCallers, isSystem: false };
      return await this.#dispatch(asked, reserve(this.#setup.sockets, frontend, asked, head, headBytes));
    } catch (thrown) {
      return this.#problem(thrown);
    }
  }

  /** A call from an object to another: the same way, without a client. Sockets are for clients. */
  async call(request: Request, chain: readonly string[]): Promise<Response> {
    try {
      if (chain.length > callChainMax)
        throw new StatefulError("hop_limit", `Calls nest ${callChainMax} deep at most.`);
      const { ref, target } = parseObjectTarget(request.url);
      return await this.#answer({ ref, target, request, chain, isSystem: false });
    } catch (thrown) {
      return this.#problem(thrown);
    }
  }

  /** A call of the machinery itself (`host/system-calls.ts`): the same way, and at its end not the author's class. Never rejects. */
  async system(ref: ObjectRef, request: Request): Promise<Response> {
    try {
      const target = pathAndQuery(request.url);
      return await this.#answer({ ref, target, request, chain: noCallers, isSystem: true });
    } catch (thrown) {
      return this.#problem(thrown);
    }
  }

  async #answer(asked: AskedEvent): Promise<Response> {
    const response = await this.#dispatch(asked, undefined);
    return response ?? problem(new StatefulError("internal", "A call was answered with an upgrade."));
  }

  /** What is not an error of ours is a bug: the log has all of it, the client learns nothing. */
  #problem(thrown: unknown): Response {
    const error = asStatefulError(thrown);
    if (error.code === "internal") this.#setup.log.error("request.failed", { error: error.cause ?? error });
    return problem(error);
  }

  async #dispatch(asked: AskedEvent, upgrade: WantedUpgrade | undefined): Promise<Response | undefined> {
    try {
      return await this.#carry(asked, upgrade);
    } finally {
      if (upgrade && !upgrade.socket.hasOwner) upgrade.socket.disconnected(1006, "");
    }
  }

  /** A class may have its requests wait for the next owner, where the last is lost. Such a request has not run, or may run again. */
  async #carry(asked: AskedEvent, upgrade: WantedUpgrade | undefined): Promise<Response | undefined> {
    const { onOwnerLost, clock, random, leaseTtlMs, refreshHosts } = this.#setup;
    const kept: KeptHead = { head: undefined };
    if (onOwnerLost(asked.ref.className) === "fail") return this.#carryOnce(asked, upgrade, kept);
    const wait = new OwnerWait({ clock, random, leaseTtlMs, refreshHosts }, asked.request.signal);
    for (;;) {
      try {
        return await this.#carryOnce(asked, upgrade, kept);
      } catch (thrown) {
        if (!(await wait.goesOnAfter(thrown))) throw thrown;
      }
    }
  }

  async #carryOnce(
    asked: AskedEvent,
    upgrade: WantedUpgrade | undefined,
    kept: KeptHead,
  ): Promise<Response | undefined> {
    const { ref, target, request, chain, isSystem } = asked;
    const { clock, placementBudgetMs, table } = this.#setup;
    const search = new OwnerSearch(this.#setup, ref, activating(table, ref, chain));
    const deadlineMs = clock.monotonicMs() + placementBudgetMs;
    let last: HostRecord | undefined;
    for (let offers = 0; offers < offersMax && clock.monotonicMs() < deadlineMs; offers++) {
      const location = await this.#next(search, ref, deadlineMs);
      if (location.kind === "here") {
        const activation = location.here;
        if (!activation.isLive) continue; // It began to move, or to stop, in the turn in which it was found.
        const whole = kept.head === undefined ? request : restored(request, kept.head);
        if (upgrade) return this.#upgradeHere(activation, whole, target, upgrade, chain);
        const event = new OpenEvent(activation, target, undefined, chain);
        return serveHere(whole, event, isSystem ? serveSystemCall : undefined);
      }
      kept.head ??= await forwardHead(asked, upgrade);
      last = location.host;
      const offer = { location, head: kept.head, request, upgrade, deadlineMs };
      const answer = await this.#offer(search, offer);
      if (answer !== "again") return answer;
    }
    throw search.exhausted(placementBudgetMs, offersMax, last);
  }

  /** Where to go next, within the budget. An object that starts or stops here is found: its own code has its own limits. */
  #next(search: OwnerSearch<Activation>, ref: ObjectRef, deadlineMs: number): Promise<Location<Activation>> {
    const { clock, table, placementBudgetMs } = this.#setup;
    return new Promise((resolve, reject) => {
      const look = () => {
        if (table.isChanging(ref.key)) cancel = clock.after(placementBudgetMs, look);
        else reject(search.late(placementBudgetMs));
      };
      let cancel: CancelTimer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), look);
      void search
        .next()
        .then(resolve, reject)
        .finally(() => cancel());
    });
  }

  #wantedUpgrade(asked: AskedEvent, frontend: Frontend): WantedUpgrade | undefined {
    const kind = wantedKind(asked.request);
    if (kind === undefined) return undefined;
    // Here, so that whoever is refused starts and wakes no object.
    this.#setup.originsOf(asked.ref.className)?.check(asked.request);
    const head = upgradeHeadOf(kind, asked.request, asked.target);
    return reserve(this.#setup.sockets, frontend, asked, head, headBytesOf(head));
  }

  // -- the owner is here

  async #upgradeHere(
    activation: Activation,
    request: Request,
    target: string,
    wanted: WantedUpgrade,
    chain: readonly string[],
  ): Promise<Response | undefined> {
    const slot = new UpgradeSlot(wanted.head.kind);
    const event = new OpenEvent(activation, target, slot, chain);
    const response = await activation.fetch(normalizedUpgrade(request), event);
    // A hook behind the route may have answered in its place.
    if (!slot.accepted || !response.ok) return response;
    const { ports } = this.#setup;
    const { socketId: id, clientAddress: remoteAddress } = wanted.client;
    const attached = attachedEdge(activation, ports.self, ports);
    attached.accept(activation, wanted.socket.socketId, slot.accepted, {
      id,
      remoteAddress,
      kind: wanted.head.kind,
    });
    this.#hold(wanted, ports.self.process, undefined);
    return this.#connect(request, slot.accepted.headers, wanted);
  }

  /** An owner has accepted the upgrade: from here on the socket is the edge's to keep, whoever owns the object. */
  #hold({ socket, client, head }: WantedUpgrade, process: string, settled: (() => void) | undefined): void {
    const { socketId: id, clientAddress: remoteAddress } = client;
    this.#setup.sockets.heldOf(socket.ref).add(socket, { id, remoteAddress, head, settled }, process);
  }

  #connect(request: Request, headers: Headers | undefined, wanted: WantedUpgrade) {
    const { socket } = wanted;
    try {
      if (wanted.head.kind === "event-stream")
        return this.#setup.sockets.eventStream(socket).response(headers);
      if (wanted.frontend.upgrade(request, headers, socket)) return undefined;
    } catch (thrown) {
      socket.disconnected(1006, "The upgrade failed.");
      throw thrown;
    }
    socket.disconnected(1006, "The client left.");
    return problem(new StatefulError("upgrade_required", "The connection cannot become a WebSocket."));
  }

  // -- the owner is elsewhere

  async #offer(
    search: OwnerSearch<Activation>,
    { location, head, request, upgrade, deadlineMs }: WantedOffer,
  ): Promise<Response | undefined | "again"> {
    const { routes, clock } = this.#setup;
    const key = `${head.className}/${encodeURIComponent(head.id)}`;
    const link = await this.#link(location.host, deadlineMs);
    if (link instanceof StatefulError) {
      // The link says once why it cannot be had, at a level that is read; this is for whoever looks for one request.
      this.#setup.log.debug("owner.unreachable", { object: key, host: location.host.hostId, error: link });
      search.unreachable(location, link);
      return "again";
    }
    const mismatch = whyNotForwarded(head.upgrade, link.version);
    if (mismatch !== undefined) {
      search.unreachable(location, mismatch);
      return "again";
    }
    const socket = upgrade?.socket;
    const offered = { ...head, intent: location.intent, socketNumber: socket?.socketId ?? 0 };
    const upgraded = upgrade && ((settle: () => void) => this.#hold(upgrade, link.peer.session, settle));
    const outcome = await forward(link, { head: offered, request, upgraded, clock }, this.#underWay);
    if (outcome.kind === "refused") {
      search.refused(location, outcome.refusal.error, outcome.refusal.owner);
      return "again";
    }
    routes.put(key, { session: location.host.session, epoch: outcome.epoch });
    if (outcome.kind === "response") return outcome.response;
    if (upgrade === undefined) throw new StatefulError("internal", "An upgrade nobody asked for.");
    return this.#connect(request, outcome.headers, upgrade);
  }

  #link(host: HostRecord, deadlineMs: number): Promise<Link | StatefulError> {
    const { links, clock } = this.#setup;
    const late = () => new StatefulError("owner_unreachable", "No link could be had in time.");
    const remainingMs = Math.max(0, deadlineMs - clock.monotonicMs());
    return withTimeLimit(clock, remainingMs, links.to(host), late).catch((thrown) =>
      asStatefulError(thrown, "owner_unreachable"),
    );
  }
}

/** One event on its way: a client's, another object's, or the machinery's own. */
interface AskedEvent {
  readonly ref: ObjectRef;
  /** Raw path and query from the class name on. */
  readonly target: string;
  readonly request: Request;
  readonly chain: readonly string[];
  readonly isSystem: boolean;
}

export interface WantedSubscription {
  readonly head: UpgradeHead;
  readonly headBytes: number;
  /** Aborts when it is not wanted any longer. */
  readonly signal: AbortSignal;
}

/** A request's head once it was read, with its small body: for all offers that follow. */
interface KeptHead {
  head: ForwardHead | undefined;
}

interface WantedOffer {
  readonly location: Extract<Location<Activation>, { kind: "there" }>;
  readonly head: ForwardHead;
  readonly request: Request;
  readonly upgrade: WantedUpgrade | undefined;
  readonly deadlineMs: number;
}

const noCallers: readonly string[] = [];
const callChainMax = 16;

/** The common case: a request for a live object of this host, in process; its route may be known already. */
export function serveHere(
  request: Request,
  event: HttpEvent,
  route?: CompiledFetch,
): Response | Promise<Response> {
  const { object } = event;
  const limited = limitBody(request, object.runtime.definition.limits.bodyBytesMax);
  return limited instanceof Response ? limited : object.fetch(limited, event, route);
}

/** Neither an upgrade nor an event stream. Looks at headers of GET requests only. */
function isPlain(request: Request): boolean {
  return request.method !== "GET" || wantedKind(request) === undefined;
}

async function forwardHead(
  { ref, target, request, chain, isSystem }: AskedEvent,
  upgrade: WantedUpgrade | undefined,
): Promise<ForwardHead> {
  return {
    className: ref.className,
    id: ref.id,
    intent: "own",
    method: request.method,
    url: request.url,
    target,
    headers: forwardedHeaders(request.headers),
    upgrade: upgrade?.head.kind,
    socketId: upgrade?.client.socketId ?? "",
    socketNumber: 0,
    clientAddress: upgrade?.client.clientAddress ?? "",
    chain,
    isSystem,
    body: await forwardedBody(request),
  };
}

/** Elysia compares the header with "websocket" as it stands, while RFC 6455 leaves its case to the client. */
function normalizedUpgrade(request: Request): Request {
  const value = request.headers.get("upgrade");
  if (value === null || value === "websocket") return request;
  const headers = new Headers(request.headers);
  headers.set("upgrade", "websocket");
  return new Request(request, { headers });
}
