import type { RouteSchema } from "elysia";

/** What the sockets of objects have beside Elysia's own: its types are told here, so that handlers can use it. */
declare module "elysia/ws" {
  // biome-ignore lint/complexity/noBannedTypes: as Elysia spells the default of this parameter.
  interface ElysiaWS<Context = unknown, Route extends RouteSchema = {}> {
    /**
     * Survives sleep, moves and crashes: a structured-cloneable value of 16 KiB at most once encoded. Reading gives a copy; set
     * it anew to change it. Undefined until it is set.
     */
    attachment: unknown;
    /** Names for `sockets.list({ tag })`, which survive as the attachment does: 16 at most, each of 1 to 256 characters. */
    tags: readonly string[];
  }
}
