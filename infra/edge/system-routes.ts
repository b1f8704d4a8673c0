import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import { objectRefFromSegment } from "../lib/object-ref.ts";
import { explain, type ExplainedOwner } from "../placement/explain.ts";
import { OwnerSearch, type SearchSetup } from "./owner-search.ts";

/** Everything that belongs to the system lives under `/-/`, where no class can: a class name begins with a letter. */
export const systemPrefix = "/-/";

export interface SystemRoutesSetup extends SearchSetup {
  readonly hostId: string;
  readonly isDraining: () => boolean;
}

/** Answers `/-/health` and `/-/explain/<class>/<id>`. */
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
        return Response.json(await this.#explain(className, segment));
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
      headers: { "cache-control": "no-store" },
    });
  }

  async #explain(className: string, segment: string) {
    const ref = objectRefFromSegment(className, segment);
    if (!this.#setup.isKnownClass(className)) {
      throw new StatefulError("unknown_class", `No host runs a class "${className}".`);
    }
    const search = new OwnerSearch(this.#setup, ref);
    return explain(search.question(), search.placement(), await this.#owner(ref.key, className, segment));
  }

  /** The owner as far as this edge knows; asking never starts an object. */
  async #owner(key: string, className: string, segment: string): Promise<ExplainedOwner | undefined> {
    const { table, leases, routes, hostId, region } = this.#setup;
    const phase = table.live(key)?.phase;
    if (phase?.name === "live") return { hostId, region, epoch: phase.epoch };
    const known = routes.get(key) ?? (await leases.find(objectRefFromSegment(className, segment)));
    const host = known && leases.host(known.session);
    return known && host && { hostId: host.hostId, region: host.region, epoch: known.epoch };
  }
}
