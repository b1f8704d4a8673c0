import { StatefulError } from "../lib/errors.ts";
import type { ObjectRef } from "../lib/object-ref.ts";
import type { SocketRecord, UpgradeHead } from "../host/edge-port.ts";
import type { SocketData } from "../object/socket-message.ts";
import type { RollScope } from "./socket-records.ts";

/** An edge's way to one owner of an object: a channel to another host, or straight calls where the owner is this host itself. */
export interface OwnerLine {
  /** The owner's process. */
  readonly process: string;
  /** A message is dealt with once it is said: there is nothing between the two that could break. */
  readonly isDirect: boolean;
  /** The edge has come to this owner by itself, which waits to be told all sockets. */
  readonly isRegistered: boolean;
  /** False while something waits for room: then more is said when `HeldSockets.flushAll` is called. */
  readonly isClear: boolean;

  /** The edge listens to this owner from now on. Applies, in this call, what the owner has said before. */
  goLive(): void;

  /** Before a roll. */
  tellPositions(positions: ReadonlyMap<string, string>): void;
  tellRoll(records: readonly SocketRecord[], scope: RollScope): void;
  tellHead(socketNumber: number, head: UpgradeHead): void;
  tellOpened(socketNumber: number): void;
  tellMessage(socketNumber: number, message: SocketData): void;
  tellDrained(socketNumber: number): void;
  tellClosed(socketNumber: number, code: number, reason: string): void;

  /** Tells the owner how many of its commands are applied, where that is due. */
  reportApplied(): void;

  /** Ended from this side: without an error there are no clients left. */
  end(error?: StatefulError): void;
}

/** Why a line is not listened to. */
export function laterOwner(ref: ObjectRef): StatefulError {
  return new StatefulError("not_owner", `${ref.key} has an owner of a later epoch.`);
}
