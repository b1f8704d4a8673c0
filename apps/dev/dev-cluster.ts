import { nanoid } from "nanoid";
import { classFiles } from "../../infra/host/class-folder.ts";
import { filesConcerned } from "./class-imports.ts";
import { DevHost } from "./dev-host.ts";
import { type EventText, failureText } from "./event-lines.ts";
import type { FailureReport } from "./failure-report.ts";
import type { FileOrder, HostEvent, HostSetup, OrderOutcome, ReadyHost } from "./host-messages.ts";
import type { FolderChange } from "./objects-watch.ts";

export interface DevClusterSetup {
  readonly regions: readonly string[];
  /** One for each region. */
  readonly ports: readonly number[];
  readonly objectsFolder: string;
  /** Those that are there at the start. */
  readonly classFiles: readonly string[];
  readonly directoryUrl: string;
  readonly hasDistance: boolean;
  readonly hear: ClusterHearing;
}

export interface ClusterHearing {
  /** An event of a host's own log. */
  event(region: string, event: HostEvent): void;
  /** Something that the cluster itself has to say. */
  say(text: EventText): void;
  /** A host serves for the first time, `afterMs` after the start. */
  ready(region: string, url: string, afterMs: number): void;
}

const secretLength = 32;
const stopLimitMs = 8_000;

/** The hosts of `bun run dev`: starts them together, keeps them alive, passes changes of files on, stops them. */
export class DevCluster {
  readonly hosts: readonly DevHost[];
  readonly #setup: DevClusterSetup;
  readonly #startedMs = performance.now();
  /** Class files whose code runs, the latest or the one before. */
  readonly #live: Set<string>;
  #isStopping = false;

  /** Starts the processes; `start` says when they serve. */
  constructor(setup: DevClusterSetup) {
    this.#setup = setup;
    this.#live = new Set(setup.classFiles);
    const clusterSecret = nanoid(secretLength);
    this.hosts = setup.regions.map((region, index) =>
      this.#host(region, setup.ports[index] ?? 0, clusterSecret),
    );
  }

  /** Resolves when every host serves; rejects with the first `HostStartError`. */
  async start(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.start()));
  }

  /** Resolves when no process is left. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.hosts.map((host) => host.stop(stopLimitMs)));
  }

  kill(): void {
    this.#isStopping = true;
    for (const host of this.hosts) host.kill();
  }

  #host(region: string, port: number, clusterSecret: string): DevHost {
    const { regions, objectsFolder, directoryUrl, hasDistance, hear } = this.#setup;
    const primaryRegion = regions[0] ?? region;
    const setup: HostSetup = {
      ...{ hostId: `dev-${region}`, region, port, objectsFolder, directoryUrl },
      ...{ clusterSecret, primaryRegion, hasDistance },
    };
    const say = (level: EventText["level"], title: string, subject: string) =>
      hear.say({ region, level, title, subject });
    let starts = 0;
    return new DevHost(setup, {
      event: (event) => hear.event(region, event),
      output: (line) => say("info", "console", line),
      ready: (ready: ReadyHost) => {
        if (starts++ > 0) say("info", "host is back", ready.url);
        else hear.ready(region, ready.url, performance.now() - this.#startedMs);
      },
      died: (how, pauseMs) =>
        say(
          "warn",
          "host died",
          `${how}; starts again in ${seconds(pauseMs)}. Its objects return once its session has expired.`,
        ),
      restartFailed: (report, pauseMs) => {
        const subject = `${report.message} Tries again in ${seconds(pauseMs)}, or when a file changes.`;
        hear.say({ region, level: "error", title: "start failed", subject, details: report.details });
      },
    });
  }

  // -- changes of files

  /** Passes a change on to every host. Resolves when all have followed it, or refused. */
  async follow({ changed, removed, shared }: FolderChange): Promise<void> {
    const { objectsFolder } = this.#setup;
    for (const file of removed) await this.#remove(file);
    const files = await classFiles(objectsFolder);
    const concerned = await filesConcerned(objectsFolder, files, [...changed, ...shared]);
    let forget = [...concerned];
    for (const file of files.filter((name) => concerned.has(name))) {
      await this.#reload(file, forget, changed.includes(file) ? [] : [...changed, ...shared]);
      // Once: classes that share a file share what it holds.
      forget = [];
    }
  }

  /** @param because files whose change made this one's code another, where it has not changed itself */
  async #reload(file: string, forget: readonly string[], because: readonly string[]): Promise<void> {
    const startedMs = performance.now();
    const outcomes = await this.#order({ kind: "reload", file, forget });
    if (this.#tellFailures(file, outcomes)) return;
    this.#live.add(file);
    const className = outcomes.map(({ outcome }) => outcome.succeeded && outcome.className).find(Boolean);
    const why = because.length > 0 ? `${file} imports ${because.join(", ")}` : file;
    const tookMs = Math.round(performance.now() - startedMs);
    // Where no host runs just now there is no name either: they read the file when they start.
    if (className) this.#say("class live", `${className}  (${why}; ${tookMs} ms)`);
  }

  async #remove(file: string): Promise<void> {
    const outcomes = await this.#order({ kind: "remove", file });
    if (this.#tellFailures(file, outcomes)) return;
    if (this.#live.delete(file)) this.#say("class removed", `${file} is gone`);
  }

  async #order(order: FileOrder): Promise<RegionOutcome[]> {
    const outcomes = await Promise.all(
      this.hosts.map(async (host) => ({ region: host.region, outcome: await host.order(order) })),
    );
    return outcomes.filter((each): each is RegionOutcome => each.outcome !== undefined);
  }

  /** One text for a mistake that every host has found. False where there is none. */
  #tellFailures(file: string, outcomes: readonly RegionOutcome[]): boolean {
    const regionsOf = new Map<string, string[]>();
    const reports = new Map<string, FailureReport>();
    for (const { region, outcome } of outcomes) {
      if (outcome.succeeded) continue;
      const key = JSON.stringify(outcome.report);
      reports.set(key, outcome.report);
      regionsOf.set(key, [...(regionsOf.get(key) ?? []), region]);
    }
    for (const [key, report] of reports) {
      const regions = regionsOf.get(key) ?? [];
      const where = regions.length === outcomes.length ? "all" : regions.join(",");
      if (!this.#isStopping)
        this.#setup.hear.say(failureText(where, "not loaded", this.#inContext(file, report)));
    }
    return reports.size > 0;
  }

  #inContext(file: string, { message, details }: FailureReport): FailureReport {
    const goesOn = this.#live.has(file) ? ["The code from before goes on."] : [];
    return {
      message: message.includes(file) ? message : `${file}: ${message}`,
      details: [...details, ...goesOn],
    };
  }

  #say(title: string, subject: string): void {
    if (!this.#isStopping) this.#setup.hear.say({ region: "all", level: "info", title, subject });
  }
}

interface RegionOutcome {
  readonly region: string;
  readonly outcome: OrderOutcome;
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
