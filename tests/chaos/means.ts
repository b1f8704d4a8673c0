import { Network } from "./network.ts";
import { SmallDisk } from "./small-disk.ts";
import { WrongClock } from "./wrong-clock.ts";

/** What a fault can need that not every machine has. */
export type Means = "disk" | "clocks" | "loss";

/** Why nothing can be done here at all; undefined where it can. */
export function reasonToSkip(): string | undefined {
  return Network.isPossible() ? undefined : "network namespaces need Linux, root and `ip` (iproute2)";
}

/** Of each that this machine lacks, why. */
export function missingMeans(): ReadonlyMap<Means, string> {
  const missing = new Map<Means, string>();
  if (!SmallDisk.isPossible()) missing.set("disk", "a file system of its own needs root and `mount`");
  if (!WrongClock.isPossible())
    missing.set("clocks", "libfaketime is not there (apt-get install libfaketime)");
  if (Bun.which("iptables") === null) missing.set("loss", "iptables is not there (apt-get install iptables)");
  return missing;
}
