import { Activation } from "../../infra/host/activation.ts";
import { ActivationTable } from "../../infra/host/activation-table.ts";
import { type ClassRuntime, classRuntime } from "../../infra/host/class-runtime.ts";
import { OpenEvent } from "../../infra/host/open-event.ts";
import { ResourcePool } from "../../infra/host/resource-pool.ts";
import { type SocketCarrier, VirtualSocket } from "../../infra/host/virtual-socket.ts";
import type { HostLoad } from "../../infra/lease/directory.ts";
import type { Log, LogFields } from "../../infra/lib/log.ts";
import { objectRef } from "../../infra/lib/object-ref.ts";
import type { Objects } from "../../infra/object/context.ts";
import { UpgradeSlot } from "../../infra/object/event.ts";
import type { AnyObjectClass } from "../../infra/object/object.ts";
import type { SocketData } from "../../infra/object/socket-message.ts";
import type { TopicEdge } from "../../infra/topics/topic-hub.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { FakeLeases } from "./fake-lease.ts";

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
  readonly leases = new FakeLeases();
  readonly resources = new ResourcePool();
  readonly table: ActivationTable;
  readonly load: { -readonly [Field in keyof HostLoad]: HostLoad[Field] } = {
    objects: 0,
    objectsMax: 10,
    memoryUsedBytes: 0,
    memoryLimitBytes: 1000,
  };
  isDraining = false;
  readonly #classes = new Map<string, ClassRuntime>();

  constructor(...classes: AnyObjectClass[]) {
    for (const objectClass of classes) this.install(objectClass);
    this.table = new ActivationTable({
      leases: this.leases,
      classes: this.#classes,
      region: "ams",
      clock: this.clock,
      log: this.log,
      isDraining: () => this.isDraining,
      load: () => this.load,
      callsFrom: noCalls,
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

const noCalls = (): Objects => () => ({}) as never; // nobody is there to be called

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
  readonly edge: TopicEdge;
  readonly socketId = 1;
  readonly sent: SocketData[] = [];
  readonly topics: string[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  isCongested = false;

  constructor(edge: TopicEdge = new FakeEdge()) {
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
  bufferedBytes(): number {
    return 0;
  }
}

/** An edge that keeps the frames which it was sent. */
export class FakeEdge implements TopicEdge {
  readonly frames: { readonly topic: string; readonly message: SocketData; readonly except: number }[] = [];
  isCongested = false;

  publish(_objectKey: string, topic: string, message: SocketData, except: number): boolean {
    if (this.isCongested) return false;
    this.frames.push({ topic, message, except });
    return true;
  }
}

/** A client's socket on `/live` of the class, open, and what its edge hears. */
export async function connectTo(
  activation: Activation,
  carrier = new FakeCarrier(),
): Promise<{ socket: VirtualSocket; carrier: FakeCarrier }> {
  const target = `/${activation.ref.key}/live`;
  const slot = new UpgradeSlot("websocket");
  const request = new Request(`http://client.example${target}`, { headers: { upgrade: "websocket" } });
  const response = await activation.fetch(request, new OpenEvent(activation, target, slot));
  if (slot.accepted === undefined)
    throw new Error(`not upgraded: ${response.status} ${await response.text()}`);
  const socket = new VirtualSocket(activation, carrier, {
    id: "socket-1",
    remoteAddress: "192.0.2.1",
    data: slot.accepted.data,
    behaviour: slot.accepted.behaviour,
  });
  activation.addSocket(socket);
  await socket.opened();
  return { socket, carrier };
}
