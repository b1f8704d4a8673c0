import type { CancelTimer } from "../lib/clock.ts";
import { asStatefulError, StatefulError } from "../lib/errors.ts";
import { commonVersion } from "../lib/version-range.ts";
import { Assembly } from "./assembly.ts";
import { ChannelTable } from "./channel-table.ts";
import {
  decodeFrames,
  type Frame,
  FrameWriter,
  type Hello,
  LinkProtocolError,
  linkChannel,
} from "./frame.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { Channel, ChannelHandlers, Link, LinkPeer } from "./link.ts";
import { type ChannelCarrier, type ChannelGrant, LinkChannel } from "./link-channel.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { LinkConnectionOptions } from "./link-connection-options.ts";
import { LinkSender, packHead } from "./link-sender.ts";
import type { Transport } from "./transport.ts";

/**
 * One link over one transport, from the hellos to the goodbye.
 *
 * What arrives is handed to the handlers synchronously, frame by frame; a handler that throws loses its channel, never the
 * link (K7). What leaves is the sender's business. Here are the phases, the channels, and the end, which everybody on the
 * link hears of once (K14).
 */
export class LinkConnection implements Link {
  readonly peer: LinkPeer;
  /** Settled by the hellos; nobody is given the link before. */
  version: number;
  readonly #options: LinkConnectionOptions;
  readonly #limits: LinkLimits;
  readonly #transport: Transport;
  readonly #heartbeat: Heartbeat;
  readonly #assembly: Assembly;
  readonly #sender: LinkSender;
  readonly #channels: ChannelTable;
  readonly #carrier: ChannelCarrier;
  readonly #grant: ChannelGrant;
  #phase: Phase = { name: "greeting", greeted: false, peerHello: undefined };
  /** Ends the wait for the peer's half of the closing. */
  #cancelCut: CancelTimer | undefined;

  constructor(options: LinkConnectionOptions) {
    const { transport, limits, nextTurn } = options;
    this.#options = options;
    this.#limits = limits;
    this.#transport = transport;
    this.version = options.versions.newest;
    this.peer = options.peer;
    this.#channels = new ChannelTable(options.side, limits.channelsMax);
    this.#assembly = new Assembly(limits.messageBytesMax);
    this.#carrier = this.#asCarrier();
    this.#grant = { here: () => this.#limits, there: () => this.#peerHello() };
    const refused = () => this.#end(this.#lost("its transport refused a message"), "dead");
    this.#sender = new LinkSender({ transport, limits, nextTurn, refused });
    this.#heartbeat = this.#newHeartbeat();
    this.#transport.start({
      message: (message) => this.#receive(message),
      closed: (reason) => this.#transportClosed(reason),
    });
  }

  get roundTripMs(): number | undefined {
    return this.#heartbeat.roundTripMs;
  }

  get isOpen(): boolean {
    return this.#phase.name === "open";
  }

  get through(): LinkPeer | undefined {
    return this.#options.through;
  }

  get isOver(): boolean {
    return this.#phase.name === "over";
  }

  get channelCount(): number {
    return this.#channels.size;
  }

  /** Bytes held for the peer: waiting here, and under way. For metrics and tests. */
  get heldBytes(): { readonly queued: number; readonly inFlight: number } {
    return this.#sender.heldBytes;
  }

  /** Says who we are. The link is open once both sides have. */
  greet(hello: Hello): void {
    if (this.#phase.name !== "greeting" || this.#phase.greeted) return;
    this.#phase = { ...this.#phase, greeted: true };
    const writer = new FrameWriter();
    writer.hello(hello);
    if (this.#transport.send(writer.bytes())) this.#openWhenGreeted();
    else this.#end(this.#lost("its transport refused the hello"), "dead");
  }

  open(purpose: string, head: unknown, handlers: ChannelHandlers): Channel {
    if (this.#phase.name !== "open") throw new StatefulError("owner_unreachable", `${this.#name} is closed.`);
    const packed = packHead(purpose, head);
    if (this.#channels.isFullOfOwn) {
      throw this.#overloaded(`has ${this.#limits.channelsMax} channels from this side`);
    }
    const id = this.#channels.takeId();
    if (!this.#sender.open(id, purpose, packed)) {
      throw this.#overloaded(`has ${this.heldBytes.queued} bytes waiting`);
    }
    const channel = new LinkChannel(id, this.#carrier, this.#grant);
    channel.handle(handlers);
    this.#channels.add(channel);
    return channel;
  }

  post(kind: number, payload: Uint8Array): boolean {
    return this.#sender.data(linkChannel, kind, payload);
  }

  close(error: StatefulError): void {
    if (this.#phase.name === "over") return;
    this.#sender.flush();
    if (this.isOver) return;
    this.#sendGoodbye(error);
    this.#end(error, "goodbye");
  }

  #asCarrier(): ChannelCarrier {
    return {
      link: this,
      data: (channel, kind, payload) => this.#sender.data(channel, kind, payload),
      closed: (channel, error) => this.#closedHere(channel, error),
      creditDue: (channel) => {
        this.#sender.urgent.credit(channel);
        this.#sender.flushSoon();
      },
      hasRoom: () => this.#sender.hasRoom,
      waitForRoom: (channel) => this.#sender.waitForRoom(channel),
    };
  }

  #newHeartbeat(): Heartbeat {
    const { clock } = this.#options;
    const { heartbeatMs, silentBeatsMax } = this.#limits;
    return new Heartbeat({
      ...{ clock, heartbeatMs, silentBeatsMax },
      ping: (id) => {
        this.#sender.urgent.ping(id);
        this.#sender.flushSoon();
      },
      silent: () => this.#end(this.#lost(`nothing was heard for ${heartbeatMs * silentBeatsMax} ms`), "dead"),
    });
  }

  #closedHere(channel: LinkChannel, error: StatefulError | undefined): void {
    if (this.#forget(channel)) this.#sender.close(channel, error);
  }

  #forget(channel: LinkChannel): boolean {
    this.#sender.forget(channel);
    const isRemoved = this.#channels.remove(channel);
    if (isRemoved && this.#channels.size === 0) this.#options.unused?.(this);
    return isRemoved;
  }

  // Receiving

  #receive(message: Uint8Array): void {
    if (this.isOver) return;
    this.#heartbeat.heard();
    try {
      decodeFrames(message, (frame, bytes) => this.#frame(frame, bytes), this.#options.versions);
    } catch (thrown) {
      const error = asStatefulError(thrown);
      this.#options.log.warn("link.protocol_error", { peer: this.peer, error });
      this.#sendGoodbye(error);
      const isOfOtherVersion = error.code === "version_mismatch";
      this.#end(isOfOtherVersion ? error : this.#lost("the peer broke the protocol", error), "goodbye");
    }
  }

  #sendGoodbye(error: StatefulError): void {
    const writer = new FrameWriter();
    writer.close(linkChannel, error);
    this.#transport.send(writer.bytes());
  }

  #frame(frame: Frame, wireBytes: number): void {
    if (this.isOver) return;
    if (frame.type === "hello") this.#helloArrived(frame.hello);
    else if (frame.type === "close" && frame.channel === linkChannel) this.#goodbyeArrived(frame.error);
    else if (this.#phase.name !== "open")
      throw new LinkProtocolError(`a frame of type ${frame.type} before the hellos`);
    else if (frame.type === "pong") this.#heartbeat.answered(frame.id);
    else if (frame.type === "credit") this.#creditArrived(frame.channel, frame.bytes);
    else if (frame.type === "ping") this.#pingArrived(frame.id);
    else this.#orderedArrived(frame, wireBytes);
  }

  #orderedArrived(frame: Extract<Frame, { type: "open" | "data" | "close" }>, wireBytes: number): void {
    if (this.#sender.urgent.received(wireBytes)) this.#sender.flushSoon();
    switch (frame.type) {
      case "data":
        this.#dataArrived(frame);
        break;
      case "open":
        this.#openArrived(frame.channel, frame.purpose, frame.head);
        break;
      case "close":
        this.#closeArrived(frame.channel, frame.error);
        break;
    }
  }

  #pingArrived(id: number): void {
    this.#sender.urgent.pong(id);
    this.#sender.flushSoon();
  }

  #dataArrived(frame: Extract<Frame, { type: "data" }>): void {
    const message = this.#assembly.add(frame);
    if (message === undefined) return;
    if (message.channel === linkChannel) {
      this.#postArrived(message.kind, message.payload);
      return;
    }
    // A channel that ended here, and the peer did not know yet: the rest of the conversation goes nowhere.
    const channel = this.#channels.get(message.channel);
    if (channel === undefined) return;
    try {
      channel.receive(message.kind, message.payload);
    } catch (thrown) {
      this.#fail(channel, thrown);
    }
  }

  #postArrived(kind: number, payload: Uint8Array | string): void {
    if (typeof payload === "string") throw new LinkProtocolError("a post of text");
    this.#guarded("post", () => this.#options.handlers.post(this, kind, payload));
  }

  #openArrived(id: number, purpose: string, head: unknown): void {
    this.#betweenPayloads();
    if (id === linkChannel || this.#channels.isOwn(id)) {
      throw new LinkProtocolError(`channel ${id} is not the peer's to open`);
    }
    if (this.#channels.get(id) !== undefined) throw new LinkProtocolError(`channel ${id} is open already`);
    const channel = new LinkChannel(id, this.#carrier, this.#grant);
    const isRefused = this.#channels.isFullOfPeers;
    this.#channels.add(channel);
    if (isRefused) {
      channel.close(this.#overloaded(`takes ${this.#limits.channelsMax} channels from a peer`));
      return;
    }
    try {
      channel.handle(this.#options.handlers.channel(channel, purpose, head));
    } catch (thrown) {
      this.#fail(channel, thrown);
    }
  }

  #closeArrived(id: number, error: StatefulError | undefined): void {
    this.#betweenPayloads();
    const channel = this.#channels.get(id);
    if (channel === undefined) return;
    this.#forget(channel);
    channel.end(error);
    this.#guarded("closed", () => channel.tellClosed(error));
  }

  #betweenPayloads(): void {
    if (this.#assembly.isOpen) throw new LinkProtocolError("a channel opened or closed inside a payload");
  }

  #creditArrived(id: number, bytes: number): void {
    const isSound =
      id === linkChannel
        ? this.#sender.acknowledged(bytes)
        : (this.#channels.get(id)?.credited(bytes) ?? true);
    if (!isSound) throw new LinkProtocolError(`more credit for channel ${id} than was sent`);
  }

  /** Its handler threw: the channel ends for both sides with that error. */
  #fail(channel: LinkChannel, thrown: unknown): void {
    const error = asStatefulError(thrown);
    if (!(thrown instanceof StatefulError))
      this.#options.log.error("link.handler_failed", { peer: this.peer, thrown });
    if (!channel.isOpen) return;
    channel.close(error);
    this.#guarded("closed", () => channel.tellClosed(error));
  }

  #guarded(handler: string, run: () => void): void {
    try {
      run();
    } catch (thrown) {
      this.#options.log.error("link.handler_failed", { peer: this.peer, handler, thrown });
    }
  }

  // Beginning and end

  #helloArrived(hello: Hello): void {
    if (this.#phase.name !== "greeting" || this.#phase.peerHello !== undefined) {
      throw new LinkProtocolError("a second hello");
    }
    const refusal = this.#options.checkHello(hello);
    if (refusal !== undefined) throw refusal;
    this.version = commonVersion(hello.versions, this.#options.versions) ?? this.version; // there is one: it was decoded
    this.#phase = { ...this.#phase, peerHello: hello };
    this.#openWhenGreeted();
  }

  #openWhenGreeted(): void {
    if (this.#phase.name !== "greeting" || !this.#phase.greeted || this.#phase.peerHello === undefined)
      return;
    const { peerHello } = this.#phase;
    this.#phase = { name: "open", peerHello };
    this.#sender.start(peerHello);
    this.#heartbeat.start();
    this.#options.opened(this, peerHello);
  }

  #peerHello(): Hello {
    if (this.#phase.name === "open") return this.#phase.peerHello;
    throw new StatefulError("owner_unreachable", `${this.#name} is closed.`);
  }

  #transportClosed(reason: string): void {
    this.#cancelCut?.();
    this.#end(this.#lost(reason), "gone");
    this.#options.gone(this);
  }

  #goodbyeArrived(error: StatefulError | undefined): void {
    const said = error === undefined ? "without a reason" : `${error.code}: ${error.message}`;
    this.#end(this.#lost(`the peer closed it, ${said}`, error), "goodbye");
  }

  #end(error: StatefulError, how: "gone" | "goodbye" | "dead"): void {
    if (this.#phase.name === "over") return;
    this.#phase = { name: "over", error };
    this.#heartbeat.stop();
    this.#sender.stop();
    if (how === "dead") this.#transport.abort();
    if (how === "goodbye") {
      this.#transport.close();
      this.#cancelCut = this.#options.clock.after(this.#limits.linkCloseTimeoutMs, () =>
        this.#transport.abort(),
      );
    }
    const channels = this.#channels.clear();
    // All end before any is told, so that a handler which turns to another channel finds it ended.
    for (const channel of channels) channel.end(error);
    for (const channel of channels) this.#guarded("closed", () => channel.tellClosed(error));
    this.#options.ended(this, error);
  }

  /** What was sent on an open link may have arrived; before that nothing was. */
  #lost(why: string, cause?: StatefulError): StatefulError {
    const code = this.#phase.name === "open" ? "outcome_unknown" : "owner_unreachable";
    return new StatefulError(code, `${this.#name} ended: ${why}.`, cause === undefined ? {} : { cause });
  }

  #overloaded(why: string): StatefulError {
    return new StatefulError("link_overloaded", `${this.#name} ${why}.`);
  }

  get #name(): string {
    return `The link to host ${this.peer.hostId} (session ${this.peer.session})`;
  }
}

type Phase =
  | { readonly name: "greeting"; readonly greeted: boolean; readonly peerHello: Hello | undefined }
  | { readonly name: "open"; readonly peerHello: Hello }
  | { readonly name: "over"; readonly error: StatefulError };
