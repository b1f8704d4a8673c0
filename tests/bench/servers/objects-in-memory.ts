import { configFromEnvironment, startHost } from "../../../apps/server/index.ts";
import type { Commit, CommitAnswer, Directory, NewSession } from "../../../infra/lease/directory.ts";
import { converse, setupOf } from "../conversation.ts";
import { type Memory, memoryInUse } from "../memory.ts";
import { empty } from "./classes.ts";

/** Makes many objects, ours or none, and says by how many bytes that made the process larger. */
export interface ObjectsSetup {
  readonly kind: "host" | "map";
  readonly objects: number;
}

const position = { generation: "bench", counter: 1 };

/** Grants everything and remembers nothing: what grows is the host alone. */
class GrantingDirectory implements Directory {
  #self: NewSession | undefined;

  async openSession(session: NewSession) {
    this.#self = session;
    return { position, hosts: [session], quarantineMs: 0, nowMs: 0 };
  }
  async renew() {
    const hosts = this.#self === undefined ? [] : [this.#self];
    return { alive: true as const, position, lastCommit: 0, quarantineMs: 0, nowMs: 0, hosts };
  }
  async commit({ session, acquire }: Commit): Promise<CommitAnswer> {
    const leases = acquire.map(
      ({ object }) => [object.key, { session, epoch: 1, alive: true, former: "" }] as const,
    );
    return {
      outcome: "committed",
      leases: new Map(leases),
      loaded: new Map(),
      refused: new Set(),
      position,
      nowMs: 0,
    };
  }
  async endSession() {
    this.#self = undefined;
  }
  readonly hasHints = false;
  async find() {
    return new Map();
  }
  async read() {
    return [];
  }
  async list() {
    return { entries: [], hasMore: false };
  }
  async dueAlarms() {
    return [];
  }
  async alarmsOf() {
    return new Map();
  }
  async alarms() {
    return [];
  }
  async messages() {
    return { messages: [], hasMore: false };
  }
  async verify() {
    return [];
  }
  async forgetLeases() {
    return { forgotten: 0, next: undefined };
  }
  async close() {
    this.#self = undefined;
  }
}

/** Requests through the edge, as a client's would come: ids are parts of URLs. */
async function hostFiller(): Promise<(from: number, to: number) => Promise<unknown>> {
  const environment = { PORT: "0", STATEFUL_BIND: "127.0.0.1", STATEFUL_OBJECTS_MAX: "10000000" };
  const host = await startHost(configFromEnvironment(environment), {
    classes: [empty],
    directory: new GrantingDirectory(),
  });
  const frontend = { upgrade: () => false, clientAddress: () => "" };
  const ask = async (number: number) => {
    const request = new Request(`http://127.0.0.1/empty/object-${number}`);
    const response = await host.parts.dispatcher.handle(request, frontend);
    if ((await response?.text()) !== "here") throw new Error(`Object ${number} did not start.`);
  };
  return (from, to) => Promise.all(Array.from({ length: to - from }, (_, index) => ask(from + index)));
}

/** The author's state in a Map, which is what an object is without us. */
function mapFiller(): (from: number, to: number) => Promise<unknown> {
  const states = new Map<string, object>();
  return async (from, to) => {
    for (let number = from; number < to; number++) states.set(`empty/object-${number}`, {});
    return states;
  };
}

const warmUpObjects = 2000;
const atOnceMax = 1000;
const setup = setupOf<ObjectsSetup>();
const fill = setup.kind === "host" ? await hostFiller() : mapFiller();

async function growth(): Promise<Memory> {
  await fill(0, warmUpObjects);
  const before = await memoryInUse();
  const last = warmUpObjects + setup.objects;
  for (let from = warmUpObjects; from < last; from += atOnceMax)
    await fill(from, Math.min(from + atOnceMax, last));
  const after = await memoryInUse();
  return {
    heapBytes: after.heapBytes - before.heapBytes,
    residentBytes: after.residentBytes - before.residentBytes,
  };
}

converse({}, growth);
