import type { HostLoad } from "../lease/directory.ts";
import type { Leases } from "../lease/leases.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { StoreHost } from "./activation-store.ts";
import type { ClassRuntime } from "./class-runtime.ts";
import type { PressureReason } from "./host-limits.ts";
import type { MovePeers } from "./move-ports.ts";
import type { EdgePorts } from "./edge-port.ts";
import type { CallsFrom } from "./object-calls.ts";

/** What a host's objects are made with, and whom they reach. */
export interface ObjectTableSetup {
  readonly leases: Pick<
    Leases,
    "acquire" | "adopt" | "disown" | "release" | "session" | "move" | "isTaking" | "host"
  >;
  readonly classes: ReadonlyMap<string, ClassRuntime>;
  readonly region: string;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly isDraining: () => boolean;
  readonly load: () => HostLoad;
  /** Why the host takes nothing new though it is under its limits. */
  readonly pressure?: () => PressureReason | undefined;
  readonly callsFrom: CallsFrom;
  readonly stores: StoreHost;
  readonly edgePorts: EdgePorts;
  readonly movePeers: MovePeers;
  /** Once a second. */
  readonly swept?: (nowMs: number) => void;
  /** In dev, state that cannot be cloned is refused when the object starts, not when it first has to move. */
  readonly checkState: boolean;
}
