import { Activation } from "../../infra/host/activation.ts";
import { ActivationTable } from "../../infra/host/activation-table.ts";
import { type ClassRuntime, classRuntime } from "../../infra/host/class-runtime.ts";
import { MemoryAccounts } from "../../infra/host/memory-account.ts";
import { MemoryCheck } from "../../infra/host/memory-check.ts";
import { type CallObject, objectCalls } from "../../infra/host/object-calls.ts";
import { OpenEvent } from "../../infra/host/open-event.ts";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import { callsPerTurn, Turns } from "../../infra/host/turns.ts";
import type {
  EdgeEvents,
  EdgeName,
  EdgePort,
  EdgePorts,
  OwnerFacts,
  SocketRecord,
} from "../../infra/host/edge-port.ts";
import type { MovePeers } from "../../infra/host/move-ports.ts";
import type { SocketCarrier, VirtualSocket } from "../../infra/host/virtual-socket.ts";
import type { HostLoad } from "../../infra/lease/directory.ts";
import type { Log, LogFields } from "../../infra/lib/log.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import { UpgradeSlot } from "../../infra/object/event.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { FakeLeases, FakeSession } from "./fake-lease.ts";
import { FakeStores } from "./fake-stores.ts";
import type { TopicMessage, TopicStart } from "../../infra/topics/topic-message.ts";

/** Keeps what was logged. */
export class LogBook implements Log {
  readonly entries: { readonly level: string; readonly event: string; readonly fields: LogFields }[] = [];

  debug(event: string, fields: LogFields = {}): void {
    this.entries.push({ level: "debug", event, fields });
  }
  info(event: string, fields: LogFields = {}): void {
    this.entries.push({ level: "info", event, fields });
  }
  warn(event: string, fields: LogFields = {}): void {
    this.entries.push({ level: "warn", event, fields });
  }
  error(event: string, fields: LogFields = {}): void {
    this.entries.push({ level: "error", event, fields });
  }
  /** What authors' code threw, in order. */
  get errors(): unknown[] {
    return this.entries.filter(({ level }) => level === "error").map(({ fields }) => fields.error);
  }
}

/** The objects of one host: the real table with a clock, leases and a network that a test moves. */
export class ObjectHost {
  readonly clock = new VirtualClock();
  readonly log = new LogBook();
  readonly stores = new FakeStores(this.clock);
  readonly leases = new FakeLeases((object) => this.stores.load(object));
  readonly resources = new ResourcePool();
  readonly table: ActivationTable;
  readonly load: { -readonly [Field in keyof HostLoad]: HostLoad[Field] } = {
    objects: 0,
    objectsMax: 10,
    memoryUsedBytes: 0,
    memoryLimitBytes: 1_000_000,
  };
  isDraining = false;
  readonly edgePorts = new FakeEdgePorts();
  /** Answers when an object is to move away. */
  beginMove: MovePeers["begin"] = async () => {
    throw new StatefulError("owner_unreachable", "there is no other host");
  };
  /** Answers calls from one object to another. */
  call: CallObject = nobody;
  readonly #classes = new Map<string, ClassRuntime>();

  constructor(...classes: AnyObjectClass[]) {
    for (const objectClass of classes) this.install(objectClass);
    const check = new MemoryCheck<Activation>({
      accounts: new MemoryAccounts(this.log),
      log: this.log,
      activations: () => this.table.all(),
      stop: (activation, cause) => this.table.stopOffender(activation, cause),
    });
    this.table = new ActivationTable({
      swept: (nowMs) => check.look(nowMs),
      leases: this.leases,
      classes: this.#classes,
      region: "ams",
      clock: this.clock,
      log: this.log,
      isDraining: () => this.isDraining,
      load: () => this.load,
      callsFrom: objectCalls(
        (request, chain) => this.call(request, chain),
        new Turns(this.clock, callsPerTurn),
      ),
      stores: this.stores,
      version: "test",
      edgePorts: this.edgePorts,
      movePeers: { begin: (target, offer) => this.beginMove(target, offer) },
      checkState: true,
    });
  }

  install(objectClass: AnyObjectClass): void {
    const runtime = classRuntime(objectClass, { hostId: "host-1", region: "ams" }, this.resources);
    this.#classes.set(runtime.definition.name, runtime);
  }

  uninstall(className: string): void {
    this.#classes.delete(className);
  }

  /** The live activation, started if need be. Throws where the object is elsewhere. */
  async live(className: string, id = "a"): Promise<Activation> {
    const taken = await this.table.activate(objectRef(className, id), "free");
    if (taken instanceof Activation) return taken;
    throw new Error(`${className}/${id} is with ${taken.session}`);
  }
}

/** The session of the host ends, and its next is open: what lived waits for that to adopt it. Returns the one that has ended. */
export function endSession(host: ObjectHost, next = "session-2"): FakeSession {
  const ended = host.leases.session;
  ended.end();
  host.table.suspendAll();
  host.leases.session = new FakeSession(next);
  return ended;
}

const nobody: CallObject = async () => new Response("nobody is there to be called", { status: 503 });

/** One request, as the dispatcher hands it over. */
export async function fetchFrom(
  activation: Activation,
  path = "/",
  options: { readonly init?: RequestInit; readonly chain?: readonly string[] } = {},
): Promise<Response> {
  const target = `/${activation.ref.key}${path}`;
  const request = new Request(`http://client.example${target}`, options.init ?? {});
  return activation.fetch(request, new OpenEvent(activation, target, undefined, options.chain));
}

export const post = { init: { method: "POST" } } as const;

/** What an edge was told to do with one socket. */
export class FakeCarrier implements SocketCarrier {
  readonly edge: FakeEdge;
  readonly socketId = 1;
  handledCount = 0;
  kept: { readonly attachment: Uint8Array | undefined; readonly tags: readonly string[] } | undefined;
  readonly sent: SocketData[] = [];
  readonly topics: string[] = [];
  readonly starts: TopicStart[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  isCongested = false;

  constructor(edge: FakeEdge = new FakeEdge()) {
    this.edge = edge;
  }
  send(message: SocketData): number {
    if (this.isCongested) return -1;
    this.sent.push(message);
    return message.length;
  }
  subscribe(topic: string): void {
    this.topics.push(topic);
  }
  listen(topic: string, start: TopicStart): boolean {
    if (this.isCongested) return false;
    this.topics.push(topic);
    this.starts.push(start);
    return true;
  }
  unsubscribe(topic: string): void {
    this.topics.splice(this.topics.indexOf(topic), 1);
  }
  ping(data: SocketData): void {
    this.send(data);
  }
  pong(data: SocketData): void {
    this.send(data);
  }
  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
  terminate(): void {
    this.close(1006, "");
  }
  handled(count: number): void {
    this.handledCount += count;
  }
  keep(attachment: Uint8Array | undefined, tags: readonly string[]): void {
    this.kept = { attachment, tags };
  }
  bufferedBytes(): number {
    return 0;
  }
}

let edges = 0;

/** An edge that keeps what it was told, and tells what a test has it tell. */
export class FakeEdge implements EdgePort {
  readonly edge: EdgeName = { process: `process-${++edges}`, hostId: "edge", region: "nrt" };
  readonly frames: { readonly topic: string; readonly message: SocketData; readonly except: number }[] = [];
  /** Where the messages of topics with a history stand, in the order of the frames. */
  readonly positions: (string | undefined)[] = [];
  /** Commands that concern the object as a whole, in order. */
  readonly told: string[] = [];
  readonly carriers = new Map<number, FakeCarrier>();
  /** What it answers to a roll call; undefined: nothing. */
  records: readonly SocketRecord[] | undefined = [];
  /** Its other end, once it is attached. */
  events: EdgeEvents | undefined;
  facts: OwnerFacts | undefined;
  cursors: ReadonlyMap<number, number> | undefined;
  readonly fills: { readonly topic: string; readonly start: TopicStart }[] = [];
  isCongested = false;
  isDirect = false;
  isReachable = true;
  readonly lastWord = undefined;
  bufferedBytes = 0;

  headOf(): undefined {
    return undefined;
  }
  carrier(socketNumber: number): FakeCarrier {
    const carrier = this.carriers.get(socketNumber) ?? new FakeCarrier(this);
    this.carriers.set(socketNumber, carrier);
    return carrier;
  }
  publish(_objectKey: string, { topic, data: message, position }: TopicMessage, except: number): boolean {
    if (this.isCongested) return false;
    this.positions.push(position);
    this.frames.push({ topic, message, except });
    return true;
  }
  fill(topic: string, start: TopicStart): boolean {
    if (this.isCongested) return false;
    this.fills.push({ topic, start });
    return true;
  }
  rollCall(): void {
    this.told.push("rollCall");
    if (this.records) this.events?.roll(this.records, "all", true);
  }
  asleep(): void {
    this.told.push("asleep");
  }
  hold(): void {
    this.told.push("hold");
  }
  goOn(): void {
    this.told.push("goOn");
  }
  moved(toSession: string, epoch: number): void {
    this.told.push(`moved ${toSession} ${epoch}`);
  }
  close(error: StatefulError): void {
    this.told.push(`close ${error.code}`);
  }
}

/** The edges of a test, by the name of their process. */
export class FakeEdgePorts implements EdgePorts {
  readonly known = new Map<string, FakeEdge>();

  to(edge: EdgeName, owner: OwnerFacts, cursors: ReadonlyMap<number, number>, events: EdgeEvents): EdgePort {
    const port = this.known.get(edge.process) ?? new FakeEdge();
    this.known.set(edge.process, port);
    Object.assign(port, { facts: owner, cursors, events });
    return port;
  }
}

/** A client's socket on a path of the class, open, and what its edge hears. */
export async function connectTo(
  activation: Activation,
  carrier = new FakeCarrier(),
  path = "/live",
): Promise<{ socket: VirtualSocket; carrier: FakeCarrier }> {
  const target = `/${activation.ref.key}${path}`;
  const slot = new UpgradeSlot("websocket");
  const request = new Request(`http://client.example${target}`, { headers: { upgrade: "websocket" } });
  const response = await activation.fetch(request, new OpenEvent(activation, target, slot));
  if (slot.accepted === undefined)
    throw new Error(`not upgraded: ${response.status} ${await response.text()}`);
  const { edge } = carrier;
  const attached =
    activation.edges.at(edge.edge.process) ??
    activation.edges.attach(edge.edge, (events, facts) => Object.assign(edge, { events, facts }));
  const number = edge.carriers.size + 1;
  edge.carriers.set(number, carrier);
  const client = { id: `socket-${number}`, remoteAddress: "192.0.2.1", kind: "websocket" } as const;
  const socket = attached.accept(activation, number, slot.accepted, client);
  await socket.opened();
  return { socket, carrier };
}
