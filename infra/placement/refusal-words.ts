import type { HostRecord } from "../lease/directory.ts";
import { waitingMoveLoadMax } from "./free-room.ts";
import type { PlacementQuestion, RefusalReason } from "./placement.ts";
import { firstVersionOnly, rangeInWords, type VersionRange } from "../lib/version-range.ts";
import { versionTag } from "./version-order.ts";

/**
 * One sentence that names the figures (P8). `host` is missing where the record is gone since the refusal; `newerVersion` is
 * what an `older_version` is older than.
 */
export function refusalInWords(
  reason: RefusalReason,
  { object, policy, linkVersions }: Pick<PlacementQuestion, "object" | "policy" | "linkVersions">,
  host: HostRecord | undefined,
  newerVersion?: string,
): string {
  const load = host?.load;
  switch (reason) {
    case "class_missing":
      return `It does not have the class "${object.className}": ${classesInWords(host)}.`;
    case "outside_pinned_regions":
      return policy.regions.length === 0
        ? "The class is pinned and names no region. Set placement.regions."
        : `The class may live in ${policy.regions.join(", ")} only.`;
    case "older_version":
      return `It runs ${versionInWords(host?.version)}, which is older than ${versionInWords(newerVersion)}.`;
    case "other_protocol":
      return `It speaks ${protocolInWords(host?.linkVersions ?? firstVersionOnly)}, and the host that asked ${protocolInWords(linkVersions)}.`;
    case "draining":
      return "It is going away and takes nothing new.";
    case "object_limit":
      return load
        ? `It holds ${load.objects} objects of at most ${load.objectsMax}.`
        : "It is at its object limit.";
    case "memory_limit":
      return load
        ? `It uses ${mebibytes(load.memoryUsedBytes)} MiB of at most ${mebibytes(load.memoryLimitBytes)} MiB.`
        : "It is at its memory limit.";
    case "overloaded":
      return "Its event loop is late: it has more to do than it can.";
    case "present_owner":
      return "The object lives there already.";
    case "not_wished":
      return "It is not where the object was to be moved.";
    case "little_room":
      return `It is ${Math.round(waitingMoveLoadMax * 100)} % full or more, and takes no moves that can wait.`;
    case "unreachable":
      return "It could not be reached from the edge that asked.";
    case "session_over":
      return "Its session in the directory was over when it was asked.";
  }
}

const classesListedMax = 20;

function classesInWords(host: HostRecord | undefined): string {
  if (!host || host.classes.length === 0) return "it runs none";
  const listed = host.classes.slice(0, classesListedMax).join(", ");
  const more = host.classes.length - classesListedMax;
  return more > 0 ? `it runs ${listed} and ${more} more` : `it runs ${listed}`;
}

const versionCharsMax = 80;

function versionInWords(version: string | undefined): string {
  return version === undefined
    ? "another version"
    : `version "${versionTag(version).slice(0, versionCharsMax)}"`;
}

function protocolInWords(range: VersionRange | undefined): string {
  return range === undefined
    ? "another version of the links between hosts"
    : `${rangeInWords(range)} of the links between hosts`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}
