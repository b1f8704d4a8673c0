import type { Clock } from "../../infra/lib/clock.ts";
import { systemClock } from "../../infra/lib/clock.ts";
import { problem, StatefulError } from "../../infra/lib/errors.ts";
import { type Log, silentLog } from "../../infra/lib/log.ts";
import { transportMessageBytesMax } from "../../infra/link/frame.ts";
import type { LinkPeer, LinkTarget } from "../../infra/link/link.ts";
import { HostLinkPool, type LinkPoolOptions, type LinkSocket, linkPath } from "../../infra/link/link-pool.ts";
import type { VersionRange } from "../../infra/lib/version-range.ts";
import { LinkSecret } from "../../infra/link/link-secret.ts";
import { socketBufferBytesMax } from "../../infra/link/websocket-transport.ts";
import { RecordingHandlers } from "./link-pair.ts";

export const testSecret = "a secret of a test cluster";

export interface LinkHost {
  readonly pool: HostLinkPool;
  readonly handlers: RecordingHandlers;
  /** How others reach this host now. */
  target(): LinkTarget;
  /** This process under a new session. */
  renameSession(session: string): void;
  /** Upgrade requests that came in. */
  requests(): number;
  stop(): Promise<void>;
}

export interface LinkHostOptions extends Partial<Omit<LinkPoolOptions, "self" | "secret" | "handlers">> {
  readonly secrets?: readonly [string, string?];
  readonly port?: number;
  readonly handlers?: RecordingHandlers;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Of the wire. Default: what this build speaks. */
  readonly versions?: VersionRange;
}

/** A host with nothing but links, over real sockets. */
export function linkHost(session: string, options: LinkHostOptions = {}): LinkHost {
  let self: LinkPeer = { session, hostId: `host-${session}`, region: "ams" };
  let requests = 0;
  const handlers = options.handlers ?? new RecordingHandlers();
  const clock = options.clock ?? systemClock;
  const secret = new LinkSecret(options.secrets ?? [testSecret], clock, options.versions);
  const pool = new HostLinkPool({ log: silentLog, ...options, clock, self: () => self, secret, handlers });
  const server = Bun.serve<LinkSocket>({
    port: options.port ?? 0,
    hostname: "127.0.0.1",
    fetch(request, bun) {
      if (new URL(request.url).pathname !== linkPath) return new Response("not a link", { status: 404 });
      requests += 1;
      const accepted = pool.accept(request);
      if (accepted instanceof StatefulError) return problem(accepted);
      if (bun.upgrade(request, { data: accepted })) return undefined;
      return problem(new StatefulError("upgrade_required", "This address is for links between hosts."));
    },
    websocket: {
      perMessageDeflate: false,
      // The least that links are promised to live with.
      maxPayloadLength: transportMessageBytesMax,
      backpressureLimit: socketBufferBytesMax,
      closeOnBackpressureLimit: true,
      open: (ws) => ws.data.open(ws),
      message: (ws, message) => ws.data.message(message),
      drain: (ws) => ws.data.drain(),
      close: (ws, code, reason) => ws.data.close(code, reason),
    },
  });
  return {
    pool,
    handlers,
    target: () => ({ ...self, privateUrl: `http://127.0.0.1:${server.port}` }),
    renameSession: (next) => {
      self = { ...self, session: next };
      pool.sessionChanged();
    },
    requests: () => requests,
    stop: async () => {
      await pool.close();
      await server.stop(true);
    },
  };
}
