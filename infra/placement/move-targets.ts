import type { HostRecord } from "../lease/directory.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import { firstVersionOnly, type VersionRange } from "../lib/version-range.ts";
import { inOrder, lastingReason, passingReason, refusal } from "./eligibility.ts";
import { bytesPerObject, freeRoom, loadWith, waitingMoveLoadMax } from "./free-room.ts";
import { equallyNear } from "./nearness.ts";
import type {
  PlacementAnswer,
  PlacementPolicy,
  RankedHost,
  RefusalReason,
  RefusedHost,
} from "./placement.ts";
import { refusalInWords } from "./refusal-words.ts";
import { meanDistances, type OwnerView } from "./region-distance.ts";
import { spreadByWeight } from "./rendezvous.ts";
import { loadShare } from "./strategy-least-loaded.ts";
import { compareVersions, olderVersions } from "./version-order.ts";

/** Why an object is to move. Under `memory` and `follow` it may as well stay; the others mean it. */
export type MoveCause =
  | { readonly kind: "drain" }
  | { readonly kind: "memory" }
  | { readonly kind: "follow" }
  | { readonly kind: "operator"; readonly wish: MoveWish };

/** Where an operator wants it. */
export type MoveWish = { readonly region: string } | { readonly hostId: string };

export interface PresentOwner {
  readonly session: string;
  readonly version: string;
  readonly region: string;
}

/** Everything is as the present owner knows it: it is who asks. */
export interface MoveQuestion extends OwnerView {
  readonly object: ObjectRef;
  readonly policy: PlacementPolicy;
  readonly owner: PresentOwner;
  readonly cause: MoveCause;
  /**
   * Objects that were sent to a host since its load figures are from, by session. Whoever moves many should count, or the
   * nearest hosts are sent more than they have room for, and refuse.
   */
  readonly arriving?: ReadonlyMap<string, number> | undefined;
  /** Versions of the links between hosts that the owner speaks. Missing: whatever the hosts speak will do. */
  readonly linkVersions?: VersionRange | undefined;
  /** Hosts that were asked and did not take it, by session. */
  readonly excluded?: ReadonlyMap<string, RefusalReason> | undefined;
}

/**
 * Where an object that lives could live instead (P10). As with `place` the answer is a proposal: the first is asked to prepare,
 * then the next. Nearest to where the traffic comes from; of those that are equally near the newest version, because
 * an object that goes to an older one in the middle of a rolling deploy has to move again; of those, in proportion to the room
 * they have.
 */
export function moveTargets(question: MoveQuestion): PlacementAnswer {
  const objectBytes = bytesPerObject(question.hosts);
  const versions = question.hosts.map(({ version }) => version);
  const older = olderVersions(versions, question.owner.version);
  const { toHost } = meanDistances(question);
  const eligible: RankedHost[] = [];
  const refused: RefusedHost[] = [];
  for (const host of question.hosts) {
    const load = expectedLoad(host, question, objectBytes);
    const reason = moveRefusalReason({ ...host, load }, question, older);
    if (reason === undefined) eligible.push({ host, ...toHost(host) });
    else refused.push(refusal(host, reason));
  }
  const roomOf = (host: HostRecord) => freeRoom(expectedLoad(host, question, objectBytes), objectBytes);
  const ranked = equallyNear(eligible).flatMap((group) =>
    byVersion(group).flatMap((hosts) => spreadByWeight(hosts, question.object, roomOf)),
  );
  return { ranked, refused: inOrder(refused) };
}

/** As for a start, the reason that lasts longest is given. The host's load is the expected one. */
function moveRefusalReason(
  host: HostRecord,
  question: MoveQuestion,
  older: ReadonlySet<string>,
): RefusalReason | undefined {
  const { owner, cause, excluded } = question;
  if (host.session === owner.session) return "present_owner";
  if (cause.kind === "operator" && !isWished(host, cause.wish)) return "not_wished";
  const lasting = lastingReason(host, question);
  if (lasting !== undefined) return lasting;
  if (older.has(host.version)) return "older_version";
  if (isBehind(host, question)) return "other_protocol";
  const passing = passingReason(host);
  if (passing !== undefined) return passing;
  const canWait = cause.kind === "memory" || cause.kind === "follow";
  if (canWait && loadShare(host.load) >= waitingMoveLoadMax) return "little_room";
  return excluded?.get(host.session);
}

/** What travels with an object may be more than a host understands whose release has an older protocol. */
function isBehind({ linkVersions = firstVersionOnly }: HostRecord, question: MoveQuestion): boolean {
  return question.linkVersions !== undefined && linkVersions.newest < question.linkVersions.newest;
}

function isWished(host: HostRecord, wish: MoveWish): boolean {
  return "region" in wish ? host.region === wish.region : host.hostId === wish.hostId;
}

function expectedLoad(host: HostRecord, { arriving }: MoveQuestion, objectBytes: number) {
  return loadWith(host.load, arriving?.get(host.session) ?? 0, objectBytes);
}

/** Newest first; within a version in the order they came. */
function byVersion(hosts: readonly RankedHost[]): readonly (readonly RankedHost[])[] {
  const groups = [...Map.groupBy(hosts, ({ host }) => host.version)];
  return groups.sort(([a], [b]) => compareVersions(b, a)).map(([, group]) => group);
}

/** Why there is no target, for whoever wanted the move: a wish that cannot be met says what stands against it. */
export function noTargetInWords(question: MoveQuestion, { refused }: PlacementAnswer): string {
  const { cause, object, owner } = question;
  const hosts = new Map(question.hosts.map((host) => [host.session, host]));
  const wish = cause.kind === "operator" ? cause.wish : undefined;
  // The owner counts where it is itself what was wished for.
  const isAsked = ({ session, reason }: RefusedHost) => {
    const host = hosts.get(session);
    return reason !== "not_wished" && (wish === undefined || host === undefined || isWished(host, wish));
  };
  const asked = refused.filter(isAsked);
  if (asked.length === 0 && wish !== undefined) {
    const where = "region" in wish ? `in the region "${wish.region}"` : `called "${wish.hostId}"`;
    return `No host ${where} is alive.`;
  }
  const reasons = asked.map(({ session, hostId, region, reason }) => {
    return `${hostId} (${region}): ${refusalInWords(reason, question, hosts.get(session), owner.version)}`;
  });
  return [`No host can take ${object.key} over.`, ...reasons].join(" ");
}
