import { type Clock, withTimeLimit } from "../../../infra/lib/clock.ts";
import { StatefulError } from "../../../infra/lib/errors.ts";
import type { SqlConnection, SqlRows, SqlStatement } from "../../../infra/lease/sql-connection.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Network } from "./network.ts";
import type { Primary } from "./primary.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedProcess } from "./simulated-process.ts";

/** Where the directory is on the network, and its replica. */
export const directoryPlace = "directory";
export const replicaPlace = "replica";

/** What happens to calls of the directory while a storm lasts. Each is a share of all calls, from 0 to 1. */
export interface Storm {
  /** They never arrive. */
  readonly lost: number;
  /** They arrive, and take effect, and their answers do not arrive. */
  readonly unanswered: number;
  /** They arrive up to `lateMs` later, mostly when nobody waits for them any longer. */
  readonly late: number;
  readonly lateMs: number;
  /** They arrive twice, the second time up to `lateMs` later. */
  readonly repeated: number;
}

export const noStorm: Storm = { lost: 0, unanswered: 0, late: 0, lateMs: 0, repeated: 0 };
/** Of what is sent into a cut, the share that arrives after it: in the socket's buffer it waits for the way to open. */
const survivesCutChance = 0.5;

export interface DirectoryConnectionSetup {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly random: SeededRandom;
  readonly primary: Primary;
  readonly process: SimulatedProcess;
  /** Of the host. */
  readonly place: string;
  readonly timeLimitMs: number;
  readonly isReplica?: boolean;
  readonly storm: () => Storm;
  /** By host: how much longer its answers take. */
  readonly slowAnswers: ReadonlyMap<string, number>;
}

type Call = { readonly statements: readonly SqlStatement[]; readonly isRead: boolean };

/**
 * A host's way to the directory, on which calls are lost, late, repeated and overtaken, before or after they took effect. As the
 * product's own connections it bounds each call in time, and says `directory_unavailable` where it does not know.
 */
export class DirectoryConnection implements SqlConnection {
  readonly #setup: DirectoryConnectionSetup;
  readonly #clock: Clock;
  readonly #pending = new Set<(error: Error) => void>();
  #isClosed = false;

  constructor(setup: DirectoryConnectionSetup) {
    this.#setup = setup;
    this.#clock = setup.process.clock;
  }

  batch(statements: readonly SqlStatement[]): Promise<readonly SqlRows[]> {
    return this.#call({ statements, isRead: false });
  }

  async query(statement: SqlStatement): Promise<SqlRows> {
    const [rows = []] = await this.#call({ statements: [statement], isRead: true });
    return rows;
  }

  reset(): void {
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const fail of pending) fail(unavailable("The connection was closed."));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.reset();
  }

  #call(call: Call): Promise<readonly SqlRows[]> {
    if (this.#isClosed) return Promise.reject(unavailable("The connection was closed."));
    const { timeLimitMs } = this.#setup;
    const { promise, resolve, reject } = Promise.withResolvers<readonly SqlRows[]>();
    this.#pending.add(reject);
    this.#send(call, resolve, reject);
    const late = () => unavailable(`The directory did not answer within ${timeLimitMs} ms.`);
    return withTimeLimit(this.#clock, timeLimitMs, promise, late).finally(() => this.#pending.delete(reject));
  }

  #send(call: Call, resolve: (rows: readonly SqlRows[]) => void, reject: (error: Error) => void): void {
    const { network, random, storm, place } = this.#setup;
    const { lost, unanswered, late, lateMs, repeated } = storm();
    if (random.isLucky(lost)) return;
    const isHeard = !random.isLucky(unanswered);
    const answer = (outcome: () => void) => {
      if (isHeard) this.#answer(outcome);
    };
    const arrive = () => this.#arrive(call, answer, resolve, reject);
    const server = this.#server;
    if (network.isCut(place, server)) {
      if (random.isLucky(survivesCutChance)) network.whenMended(place, server, () => this.#later(0, arrive));
      return;
    }
    const extraMs = random.isLucky(late) ? lateMs * random.next() : 0;
    this.#later(extraMs, arrive);
    if (!call.isRead && random.isLucky(repeated)) {
      this.#later(lateMs * random.next(), () => this.#arrive(call, answer, ignore, ignore));
    }
  }

  #later(extraMs: number, arrive: () => void): void {
    const { scheduler, network, place } = this.#setup;
    scheduler.after(network.latencyMs(place, this.#server) + extraMs, undefined, arrive);
  }

  get #server(): string {
    return this.#setup.isReplica === true ? replicaPlace : directoryPlace;
  }

  /** At the server. */
  #arrive(
    { statements, isRead }: Call,
    answer: (outcome: () => void) => void,
    resolve: (rows: readonly SqlRows[]) => void,
    reject: (error: Error) => void,
  ): void {
    const { primary, isReplica } = this.#setup;
    if (primary.isDown && isReplica !== true) return answer(() => reject(unavailable("Connection refused.")));
    try {
      const [first] = statements;
      if (isReplica === true && first) {
        const rows = primary.queryReplica(first);
        answer(() => resolve([rows]));
      } else {
        const rows = isRead && first ? [primary.query(first)] : primary.execute(statements);
        answer(() => resolve(rows));
      }
    } catch (error) {
      answer(() => reject(error instanceof Error ? error : new Error(String(error))));
    }
  }

  #answer(outcome: () => void): void {
    const { scheduler, network, process, place, slowAnswers } = this.#setup;
    if (network.isCut(this.#server, place)) return;
    const latencyMs = network.latencyMs(this.#server, place) + (slowAnswers.get(place) ?? 0);
    scheduler.after(latencyMs, process, outcome);
  }
}

function unavailable(message: string): StatefulError {
  return new StatefulError("directory_unavailable", message);
}

function ignore(): void {
  // A copy that nobody has asked for has nobody to answer to.
}
