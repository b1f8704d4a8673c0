import type { EdgeName } from "../host/edge-port.ts";
import type { Elsewhere, ObjectTable } from "../host/object-table.ts";
import type { ObjectEdges } from "../host/object-edges.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import { objectRef } from "../lib/object-ref.ts";
import type { Channel, ChannelHandlers } from "../link/link.ts";
import type { HostEdgePorts } from "./edge-ports.ts";
import { encodeRefusal } from "./forward-protocol.ts";
import { ServedEdge } from "./served-edge.ts";
import { buriedSockets, type Payload, type Registration, toEdge } from "./socket-protocol.ts";

export interface RegistrationSetup {
  readonly table: Pick<ObjectTable, "claim">;
  readonly ports: HostEdgePorts;
}

/**
 * The owner's end of a channel that an edge has opened, because it lost the owner of an object's sockets. The host refuses, and
 * names whom it knows, or the channel becomes the object's attachment to that edge.
 */
export class ServedRegistration implements ChannelHandlers {
  readonly #setup: RegistrationSetup;
  readonly #registration: Registration;
  readonly #edge: EdgeName;
  #port: ServedEdge | undefined;

  constructor(channel: Channel, registration: Registration, setup: RegistrationSetup) {
    this.#setup = setup;
    this.#registration = registration;
    const { session: process, hostId, region } = channel.link.peer;
    this.#edge = { process, hostId, region };
    this.#serve(channel).catch((thrown) => this.#refuse(channel, asStatefulError(thrown), undefined));
  }

  message(channel: Channel, kind: number, payload: Payload): void {
    if (this.#port) this.#port.message(channel, kind, payload);
    else channel.consumed(payload.length); // Nothing is said before the hello.
  }

  closed(channel: Channel, error: StatefulError | undefined): void {
    this.#port?.closed(channel, error);
  }

  async #serve(channel: Channel): Promise<void> {
    const { className, id, intent, isAsleep } = this.#registration;
    const ref = objectRef(className, id);
    const edges = await this.#setup.table.claim(ref, intent === "place" ? "free" : "mine", isAsleep);
    if (!channel.isOpen) return;
    if ("owned" in edges) {
      const why = new StatefulError("not_owner", `${ref.key} is not here.`, { retryAfterMs: 1000 });
      return this.#refuse(channel, why, edges);
    }
    this.#attach(channel, edges);
  }

  #attach(channel: Channel, edges: ObjectEdges): void {
    const { port: portId, applied } = this.#registration;
    const { ports } = this.#setup;
    const attached = edges.at(this.#edge.process);
    const port = attached?.port;
    if (attached && port instanceof ServedEdge && !port.isOver) {
      this.#port = port;
      // An edge that comes from another owner has heard nothing of this attachment, so all of it is said again.
      if (port.adopt(channel, port.id === portId ? applied : 0, () => attached.cursors())) return;
      this.#port = undefined;
      port.lost(new StatefulError("outcome_unknown", "The edge has lost track of the attachment."));
      attached.lost(new StatefulError("outcome_unknown", "The edge has lost track of the attachment."));
    }
    if (ports.isBuried(portId)) return this.#refuse(channel, buriedSockets(), undefined);
    const fresh = edges.attach(this.#edge, (events, facts) => {
      const own = ports.unopened(this.#edge, facts, new Map(), events);
      this.#port = own;
      own.adopt(channel, 0, () => new Map());
      return own;
    });
    fresh.expectRoll();
  }

  #refuse(channel: Channel, error: StatefulError, elsewhere: Elsewhere | undefined): void {
    if (!channel.isOpen) return;
    const owner = elsewhere?.session ? { session: elsewhere.session, epoch: elsewhere.epoch } : undefined;
    const refusal = encodeRefusal({ error, owner }, channel.link.version);
    if (!channel.send(toEdge.refuse, refusal)) channel.close(error);
  }
}
