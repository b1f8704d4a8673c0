import { ClassFileError } from "../../infra/host/class-folder.ts";
import { ConfigError, configFromEnvironment } from "./config.ts";
import { startHost } from "./host.ts";
import { jsonLog } from "./log-lines.ts";
import { surviveStrayErrors } from "./stray-errors.ts";

/** One host in one process: `bun start`, and the container's command. SIGTERM and SIGINT stop it in order. */
async function main(): Promise<void> {
  const config = configFromEnvironment(process.env);
  const { hostId, region } = config;
  const log = jsonLog((line) => process.stdout.write(`${line}\n`), { hostId, region }, config.logsDebug);
  surviveStrayErrors(log);
  if (config.clusterSecrets.length === 0) {
    log.warn("secret.missing", { advice: "CLUSTER_SECRET is not set: no other host can link to this one." });
  }
  const host = await startHost(config, { log });
  const stop = (signal: NodeJS.Signals) => {
    log.info("host.stopping", { signal });
    host.stop().then(
      () => process.exit(0),
      (error) => {
        log.error("stop.failed", { error });
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main().catch((error: unknown) => {
  // A mistake that a person can mend is told as a sentence; anything else with its stack.
  const isForPeople = error instanceof ConfigError || error instanceof ClassFileError;
  console.error(isForPeople ? error.message : error);
  process.exit(1);
});
