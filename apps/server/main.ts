import { ClassFileError } from "../../infra/host/class-folder.ts";
import { StatefulError } from "../../infra/lib/errors.ts";
import type { Log } from "../../infra/lib/log.ts";
import { ConfigError, configFromEnvironment } from "./config.ts";
import { descriptorsAdvice } from "./descriptors.ts";
import { outdatedExitCode } from "./exit-codes.ts";
import { type RunningHost, startHost } from "./host.ts";
import { jsonLog } from "./log-lines.ts";
import { tellSupervisor } from "./session-notice.ts";
import { surviveStrayErrors } from "./stray-errors.ts";

/** A terminal, a service manager and a parent each pass one wish to stop on. Asked again later, the host ends at once. */
const oneWishMs = 1_000;

/**
 * One host in one process: `bun start`, and what the supervisor starts. SIGTERM, SIGINT and SIGHUP have it drained, and so has
 * the end of its supervisor: whoever starts that again starts another host with it.
 */
async function main(): Promise<void> {
  const isSupervised = process.connected;
  const config = configFromEnvironment(process.env);
  const { hostId, region } = config;
  const log = jsonLog((line) => process.stdout.write(`${line}\n`), { hostId, region }, config.logsDebug);
  surviveStrayErrors(log);
  if (config.clusterSecrets.length === 0) {
    log.warn("secret.missing", { advice: "CLUSTER_SECRET is not set: no other host can link to this one." });
  }
  const advice = descriptorsAdvice(config.socketsMax);
  if (advice !== undefined) log.warn("descriptors.few", { advice });
  const outdated = Promise.withResolvers<StatefulError>();
  const onOutdated = outdated.resolve;
  const host = await startHost(config, { log, onSession: tellSupervisor, onOutdated });
  void outdated.promise.then((error) => leave(host, log, error));
  const stop = stopOf(host, log);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, stop);
  process.once("disconnect", () => stop("disconnect"));
  if (isSupervised && !process.connected) stop("disconnect");
}

/** A newer release has migrated the directory under this one. Nothing is to be moved or saved: it may not write any more. */
async function leave(host: RunningHost, log: Log, error: StatefulError): Promise<never> {
  log.error("host.outdated", { error });
  await host.stop().catch((failure: unknown) => log.error("stop.failed", { error: failure }));
  process.exit(outdatedExitCode);
}

function stopOf(host: RunningHost, log: Log): (signal: string) => void {
  let askedAtMs: number | undefined;
  return (signal) => {
    if (askedAtMs !== undefined) {
      if (performance.now() - askedAtMs > oneWishMs) process.exit(1);
      return;
    }
    askedAtMs = performance.now();
    log.info("host.stopping", { signal });
    host.drain().then(
      () => process.exit(0),
      (error) => {
        log.error("stop.failed", { error });
        process.exit(1);
      },
    );
  };
}

main().catch((error: unknown) => {
  // A mistake that a person can mend is told as a sentence; anything else with its stack.
  const isOutdated = error instanceof StatefulError && error.code === "version_mismatch";
  const isForPeople = isOutdated || error instanceof ConfigError || error instanceof ClassFileError;
  console.error(isForPeople ? error.message : error);
  process.exit(isOutdated ? outdatedExitCode : 1);
});
