import type { FailureReport } from "./failure-report.ts";

/**
 * What `bun run dev` and its host processes say to each other over Bun's IPC, as JSON. Both ends are of one checkout, so
 * there is no version to agree on.
 */

/** What a host process is told once, at its start, through the environment variable `hostSetupVariable`. */
export interface HostSetup {
  readonly hostId: string;
  readonly region: string;
  readonly port: number;
  readonly objectsFolder: string;
  readonly directoryUrl: string;
  readonly clusterSecret: string;
  /** Where the directory's primary stands. */
  readonly primaryRegion: string;
  readonly hasDistance: boolean;
}

export const hostSetupVariable = "STATEFUL_DEV_HOST";

/** From the cluster to a host. */
export type HostOrder = NumberedOrder | { readonly kind: "stop" };

/** Orders that are answered with `done`. */
export type NumberedOrder = FileOrder & { readonly number: number };

export type FileOrder =
  /** Read a class file again, or for the first time, after forgetting what was read of these. */
  | { readonly kind: "reload"; readonly file: string; readonly forget: readonly string[] }
  | { readonly kind: "remove"; readonly file: string };

/** From a host to the cluster. */
export type HostMessage =
  | ({ readonly kind: "ready" } & ReadyHost)
  | { readonly kind: "failed"; readonly report: FailureReport }
  | ({ readonly kind: "event" } & HostEvent)
  | { readonly kind: "done"; readonly number: number; readonly outcome: OrderOutcome };

export interface ReadyHost {
  readonly url: string;
  readonly port: number;
}

/** One entry of a host's log. Errors among its fields have become reports; the rest is plain JSON. */
export interface HostEvent {
  readonly level: "info" | "warn" | "error";
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type OrderOutcome =
  | { readonly succeeded: true; readonly className: string | undefined }
  | { readonly succeeded: false; readonly report: FailureReport };
