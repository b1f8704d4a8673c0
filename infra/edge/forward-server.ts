import type { Activation } from "../host/activation.ts";
import type { AttachedEdge } from "../host/attached-edge.ts";
import type { EdgePorts } from "../host/edge-port.ts";
import type { ActivationTable, Elsewhere } from "../host/activation-table.ts";
import { OpenEvent } from "../host/open-event.ts";
import { serveSystemCall } from "../host/system-calls.ts";
import type { VirtualSocket } from "../host/virtual-socket.ts";
import { asStatefulError, problem, StatefulError } from "../lib/errors.ts";
import { objectRef } from "../lib/object-ref.ts";
import type { Channel, ChannelHandlers } from "../link/link.ts";
import { UpgradeSlot } from "../object/event.ts";
import { isStreamed } from "../object/streamed-response.ts";
import { limitBody } from "./body-limit.ts";
import { attachedEdge } from "./attached-edges.ts";
import { BodyPump, ReceivedBody } from "./body-stream.ts";
import {
  bytesOf,
  decodeForwardHead,
  encodeNumbers,
  encodeRefusal,
  encodeResponseHead,
  encodeWhole,
  type ForwardHead,
  fromEdge,
  fromOwner,
  isStatus,
  type ResponseHead,
} from "./forward-protocol.ts";
import { forwardedHeaders } from "./http-fields.ts";

/** Bodies up to this size leave with the head in one message. */
const wholeResponseBytesMax = 128 * 1024;
const textType = "text/plain;charset=utf-8";

/**
 * The owner's end of a forwarded event. It either refuses, before anything ran, or accepts, and then the event is served
 * exactly like one that came in at this host's own edge.
 */
export class ServedEvent implements ChannelHandlers {
  readonly #channel: Channel;
  readonly #head: ForwardHead;
  readonly #table: ActivationTable;
  readonly #ports: EdgePorts;
  readonly #aborted = new AbortController();
  #body: ReceivedBody | undefined;
  #responseBody: BodyPump | undefined;
  #socket: UnopenedSocket | undefined;
  /** Whether the handler's answer is complete: who leaves after that ends nothing. */
  #isAnswered = false;

  /** @throws StatefulError `bad_request` for a malformed head, which refuses the channel. */
  constructor(channel: Channel, head: unknown, table: ActivationTable, ports: EdgePorts) {
    this.#channel = channel;
    this.#head = decodeForwardHead(head);
    this.#table = table;
    this.#ports = ports;
    this.#serve().catch((thrown) => this.#end(asStatefulError(thrown)));
  }

  message(channel: Channel, kind: number, payload: Uint8Array | string): void {
    // A body's bytes are consumed when the handler reads them; anything else is dealt with here and now.
    if (kind !== fromEdge.body) channel.consumed(payload.length);
    if (kind === fromEdge.body) return this.#body?.push(bytesOf(payload));
    if (kind === fromEdge.bodyEnd) this.#body?.end();
    else if (kind === fromEdge.bodyFailed)
      this.#body?.fail(new StatefulError("bad_request", "The body broke off."));
  }

  closed(_: Channel, error: StatefulError | undefined): void {
    if (!this.#isAnswered) this.#aborted.abort(error);
    this.#responseBody?.stop(error);
    this.#body?.fail(error ?? new StatefulError("bad_request", "The client left."));
    // Ended without an error, it is the edge's that says of the client what there is to say, on the attachment.
    if (error !== undefined) this.#checkOpened();
  }

  async #serve(): Promise<void> {
    let admitted = await this.#admit();
    // It may have begun to move, or to stop, in the turn in which it was found.
    while ("isLive" in admitted && !admitted.isLive) admitted = await this.#admit();
    if (!this.#channel.isOpen) return;
    if (admitted instanceof StatefulError) return this.#refuse(admitted, undefined);
    if ("owned" in admitted) return this.#refuse(notHere(this.#head), admitted);
    const { phase } = admitted;
    this.#send(fromOwner.accept, encodeNumbers("epoch" in phase ? phase.epoch : 0));
    if (!this.#channel.isOpen) return; // Nobody was told that it is accepted, so nothing may run.
    await this.#respond(await this.#run(admitted).catch((thrown) => failure(admitted, thrown)));
  }

  async #admit(): Promise<Activation | Elsewhere | StatefulError> {
    try {
      const { className, id, intent, chain } = this.#head;
      const ref = objectRef(className, id);
      return (
        this.#table.live(ref.key) ??
        (await this.#table.activate(ref, intent === "place" ? "free" : "mine", chain))
      );
    } catch (thrown) {
      return asStatefulError(thrown);
    }
  }

  /** The answer; undefined where the event became a socket, or the client has left. */
  async #run(activation: Activation): Promise<Response | undefined> {
    const { upgrade, target, chain, isSystem } = this.#head;
    const slot = upgrade === undefined ? undefined : new UpgradeSlot(upgrade);
    const request = limitBody(this.#request(), activation.runtime.definition.limits.bodyBytesMax);
    if (request instanceof Response) return request;
    const event = new OpenEvent(activation, target, slot, chain);
    activation.cameFrom(this.#channel.link.peer.region);
    const response = await activation.fetch(request, event, isSystem ? serveSystemCall : undefined);
    if (!slot?.accepted || !response.ok) return response;
    // A socket that nobody holds would stay with the object for ever.
    if (this.#channel.isOpen) this.#upgrade(activation, slot);
    return undefined;
  }

  #request(): Request {
    const { method, url, headers, body, upgrade } = this.#head;
    const fields = new Headers(headers.map(([name, value]) => [name, value]));
    if (upgrade === "websocket" || upgrade === "subscription") fields.set("upgrade", "websocket"); // per connection, so it was not forwarded
    const init = { method, headers: fields, signal: this.#aborted.signal };
    if (body === "none") return new Request(url, init);
    if (body !== "stream") return new Request(url, { ...init, body: body as Uint8Array<ArrayBuffer> }); // off a link: never shared
    this.#body = new ReceivedBody(this.#channel, ignoreRest);
    return new Request(url, { ...init, body: this.#body.stream, duplex: "half" } as RequestInit); // duplex: Fetch standard
  }

  async #respond(response: Response | undefined): Promise<void> {
    if (response === undefined) return;
    const status = isStatus(response.status) ? response.status : 500;
    const head = { status, headers: forwardedHeaders(response.headers) };
    if (isStreamed(response) && response.body !== null) return this.#stream(head, response.body);
    const body = new Uint8Array(await response.arrayBuffer());
    // What is not a stream was text or JSON. Bun names the type of a text when it sends it, and never in its headers.
    if (body.length > 0 && !response.headers.has("content-type"))
      head.headers.push(["content-type", textType]);
    if (body.length > wholeResponseBytesMax) return this.#stream(head, new Blob([body]).stream());
    this.#isAnswered = true;
    this.#send(fromOwner.whole, encodeWhole(head, body));
  }

  async #stream(head: ResponseHead, body: ReadableStream<Uint8Array>): Promise<void> {
    this.#responseBody = new BodyPump(body, this.#channel, fromOwner);
    this.#send(fromOwner.response, encodeResponseHead(head));
    if (!this.#channel.isOpen) this.#responseBody.stop("The client left.");
    await this.#responseBody.run();
    this.#isAnswered = true;
  }

  #upgrade(activation: Activation, { accepted, kind }: UpgradeSlot): void {
    if (accepted === undefined) throw new StatefulError("internal", "The upgrade was taken back.");
    const { session: process, hostId, region } = this.#channel.link.peer;
    const { socketNumber: number, socketId: id, clientAddress: remoteAddress } = this.#head;
    const attached = attachedEdge(activation, { process, hostId, region }, this.#ports);
    const socket = attached.accept(activation, number, accepted, { id, remoteAddress, kind });
    this.#socket = { attached, socket };
    this.#isAnswered = true;
    const headers = accepted.headers ? [...accepted.headers] : [];
    this.#send(fromOwner.upgraded, encodeResponseHead({ status: 200, headers }));
  }

  /** The client left before it was connected, or the way to its edge broke: should it be there, the edge tells so again. */
  #checkOpened(): void {
    if (this.#socket?.socket.readyState !== 0) return;
    this.#socket.attached.closed(this.#socket.socket.socketId, 1006, "");
  }

  #refuse(error: StatefulError, elsewhere: Elsewhere | undefined): void {
    const owner = elsewhere?.session ? { session: elsewhere.session, epoch: elsewhere.epoch } : undefined;
    this.#send(fromOwner.refuse, encodeRefusal({ error, owner }, this.#channel.link.version));
  }

  #send(kind: number, payload: Uint8Array): void {
    if (!this.#channel.isOpen || this.#channel.send(kind, payload)) return;
    this.#end(new StatefulError("link_overloaded", "The link between the two hosts is congested."));
  }

  /** Ends the conversation from this side. A channel does not tell its own handlers of that, so it is done here. */
  #end(error: StatefulError): void {
    if (!this.#channel.isOpen) return;
    this.#channel.close(error);
    this.closed(this.#channel, error);
  }
}

interface UnopenedSocket {
  readonly attached: AttachedEdge;
  readonly socket: VirtualSocket;
}

function notHere(head: ForwardHead): StatefulError {
  return new StatefulError("not_owner", `${head.className}/${head.id} does not live here.`, {
    retryAfterMs: 1000,
  });
}

/** What went wrong between the edge's request and the class, which answers its own failures. */
function failure(activation: Activation, thrown: unknown): Response {
  if (thrown instanceof StatefulError) return problem(thrown);
  const errorId = activation.reportFailure(thrown, undefined);
  const message = `The request could not be served. The log has it under ${errorId}.`;
  return problem(new StatefulError("internal", message, { details: { errorId } }));
}

/** The handler reads no further. The window keeps what follows at the edge, and the response ends the channel. */
function ignoreRest(): void {
  // Nothing to do.
}
