import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import type { HostRecord } from "../lease/directory.ts";
import { type ObjectRef, objectRefFromSegment } from "../lib/object-ref.ts";
import { explain } from "../placement/explain.ts";
import type { OwnerCalls } from "./owner-calls.ts";
import type { OwnerAccount } from "./owner-protocol.ts";
import { activating, OwnerSearch, type SearchSetup } from "./owner-search.ts";

/** Everything that belongs to the system lives under `/-/`, where no class can: a class name begins with a letter. */
export const systemPrefix = "/-/";
export const healthPath = `${systemPrefix}health`;

export interface SystemRoutesSetup extends SearchSetup {
  readonly hostId: string;
  readonly isDraining: () => boolean;
  readonly owners: Pick<OwnerCalls, "account">;
  /** Whether whoever asks may see the figures of hosts: how full they are, and where their users are. */
  readonly showsFigures: (request: Request) => boolean;
  /** The host by which the one that is named is reached, where it cannot be directly. */
  readonly pathTo: (host: HostRecord) => {
    readonly via: string | undefined;
    /** Why there can be no link to it at all. */
    readonly whyNot: string | undefined;
  };
}

const unkept = { "cache-control": "no-store" };

/**
 * Answers `/-/health` and `/-/explain/<class>/<id>`: to anybody where an object lives, and to whoever may see figures the reasons
 * as well.
 */
export class SystemRoutes {
  readonly #setup: SystemRoutesSetup;

  constructor(setup: SystemRoutesSetup) {
    this.#setup = setup;
  }

  async handle(request: Request, target: string): Promise<Response> {
    try {
      if (request.method !== "GET" && request.method !== "HEAD")
        throw new StatefulError("not_found", "Only GET and HEAD are answered here.");
      const path = target.split("?", 1)[0] ?? "";
      const [, , verb, className, segment, ...rest] = path.split("/");
      if (verb === "health" && className === undefined) return this.#health();
      if (verb === "explain" && className && segment && rest.length === 0) {
        const { object, askedFrom, owner, ...figures } = await this.#explain(className, segment);
        const isShown = this.#setup.showsFigures(request);
        return Response.json({ object, askedFrom, owner, ...(isShown && figures) }, { headers: unkept });
      }
      throw new StatefulError(
        "not_found",
        `There is no ${path.slice(0, 200)}. Try /-/health or /-/explain/<class>/<id>.`,
      );
    } catch (thrown) {
      return problem(asStatefulError(thrown));
    }
  }

  /** 200 while this host may own objects, 503 otherwise: what a load balancer should look at. */
  #health(): Response {
    const { hostId, region, leases, table, isDraining } = this.#setup;
    const isValid = leases.session.isValid();
    const status = isDraining() ? "draining" : isValid ? "ok" : "no session";
    const body = { status, hostId, region, objects: table.size, hosts: leases.hosts.length };
    return Response.json(body, {
      status: status === "ok" ? 200 : 503,
      headers: unkept,
    });
  }

  async #explain(className: string, segment: string) {
    const ref = objectRefFromSegment(className, segment);
    const { isKnownClass, owners, pathTo } = this.#setup;
    if (!isKnownClass(className))
      throw new StatefulError("unknown_class", `No host runs a class "${className}".`);
    const search = new OwnerSearch(this.#setup, ref, activating(this.#setup.table, ref));
    const known = await this.#knownOwner(ref);
    const account = await owners.account(ref, known?.host);
    const owner = account?.owner ?? (known && { ...nameOf(known.host), epoch: known.epoch });
    const explanation = explain(search.question(), search.placement(), owner, account?.life);
    const { via, whyNot } = known ? pathTo(known.host) : { via: undefined, whyNot: undefined };
    const way = { ...(via && { reachedThrough: via }), ...(whyNot && { notReached: whyNot }) };
    return { ...explanation, ...(account && stateForm(account)), ...way };
  }

  /** The owner as far as this edge knows; asking never starts an object. */
  async #knownOwner(
    ref: ObjectRef,
  ): Promise<{ readonly host: HostRecord; readonly epoch: number } | undefined> {
    const { table, leases, routes } = this.#setup;
    if (table.live(ref.key) || table.sleeping(ref.key)) return undefined;
    const known = routes.get(ref.key) ?? (await leases.find(ref));
    const host = known && leases.host(known.session);
    return host && { host, epoch: known.epoch };
  }
}

function nameOf({ hostId, region }: HostRecord) {
  return { hostId, region };
}

/** Whether it is awake, and why. */
function stateForm({ isAsleep, awake, edges, sockets }: OwnerAccount) {
  return {
    isAsleep,
    keptAwakeBy: { openEvents: awake.events, timers: awake.timers },
    sockets: { open: sockets ?? null, edges },
  };
}
