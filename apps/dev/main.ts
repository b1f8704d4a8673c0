import { realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { ClassFileError, classFiles } from "../../infra/host/class-folder.ts";
import { ArgumentError, type DevOptions, parseArguments, usage } from "./arguments.ts";
import { banner } from "./banner.ts";
import { DataFolder, DataFolderError } from "./data-folder.ts";
import { DevCluster } from "./dev-cluster.ts";
import { EventFeed } from "./event-feed.ts";
import { type EventText, eventLines } from "./event-lines.ts";
import { freePorts } from "./free-ports.ts";
import { HostStartError } from "./host-child.ts";
import { launcherOf, watchLauncher } from "./launcher.ts";
import { ObjectsWatch } from "./objects-watch.ts";
import { type Palette, paletteFor } from "./palette.ts";
import { StopRequest } from "./stop-request.ts";

/** `bun run dev`: several regions on one machine. `--help` lists what it can be told. */
const exitCodes = { stopped: 0, failed: 1, usage: 2, killed: 130 } as const;
const palette = paletteFor(process.env, process.stdout.isTTY === true);
const stopRequest = new StopRequest();

process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseArguments(args);
    if (options === "help") {
      write(usage);
      return exitCodes.stopped;
    }
    return await run(options);
  } catch (error) {
    return refuse(error);
  }
}

async function run(options: DevOptions): Promise<number> {
  const endWatch = watchLauncher(launcherOf(process.env.npm_lifecycle_event !== undefined), () =>
    stopRequest.ask(),
  );
  const objectsFolder = existingFolder(options.objectsFolder);
  const files = await classFiles(objectsFolder);
  const data = DataFolder.open(options.dataFolder, options.isFresh);
  try {
    return await runCluster(options, objectsFolder, files, data);
  } finally {
    data.close();
    endWatch();
  }
}

async function runCluster(
  options: DevOptions,
  objectsFolder: string,
  files: readonly string[],
  data: DataFolder,
): Promise<number> {
  const { regions, hasDistance } = options;
  const say = (text: EventText) => write(`${eventLines(text, new Date(), regions, palette).join("\n")}\n`);
  const feed = new EventFeed(say);
  const watch = await ObjectsWatch.begin({
    folder: objectsFolder,
    changed: (change) => cluster.follow(change),
    unreadable: (error) => say(folderUnreadable(options.objectsFolder, error)),
  });
  write(`Starting ${regions.join(", ")} …\n`);
  const cluster = new DevCluster({
    ...{ regions, objectsFolder, hasDistance, classFiles: files, directoryUrl: data.directoryUrl },
    ports: await freePorts(options.port, regions.length),
    hear: {
      event: (region, event) => feed.hear(region, event),
      say: (text) => feed.say(text),
      ready: (region, url, afterMs) => write(readyLine(regions, region, url, afterMs)),
    },
  });
  stopRequest.onSecond(() => killAll(cluster));
  try {
    await Promise.race([cluster.start(), stopRequest.asked]);
    if (!stopRequest.wasAsked) {
      write(`${banner(bannerFacts(options, cluster, files), palette)}\n`);
      feed.isQuiet = false;
      watch.follow();
      await stopRequest.asked;
    }
    return await stop(cluster);
  } catch (error) {
    cluster.kill();
    throw error;
  } finally {
    feed.close();
    watch.close();
  }

  async function stop(cluster: DevCluster): Promise<number> {
    const startedMs = performance.now();
    feed.isQuiet = true;
    // Over the ^C that a terminal shows.
    write(`${process.stdout.isTTY ? "\r" : ""}Stopping ${regions.join(", ")} … `);
    await cluster.stop();
    write(`done in ${((performance.now() - startedMs) / 1000).toFixed(1)} s.\n`);
    return exitCodes.stopped;
  }
}

function killAll(cluster: DevCluster): never {
  cluster.kill();
  write("killed.\n");
  process.exit(exitCodes.killed);
}

function refuse(error: unknown): number {
  const [message, details, code] = refusal(error, palette);
  process.stderr.write(
    `${palette.red("✗")} ${[message, ...details.map((line) => `    ${line}`)].join("\n")}\n`,
  );
  return code;
}

/** What to say, and the exit code. Mistakes of the person have a message that is enough; the rest shows its stack. */
function refusal(error: unknown, palette: Palette): [string, readonly string[], number] {
  if (error instanceof ArgumentError) return [error.message, [], exitCodes.usage];
  if (error instanceof HostStartError)
    return [error.message, error.report.details.map(palette.dim), exitCodes.failed];
  const isMistake = error instanceof ClassFileError || error instanceof DataFolderError;
  if (isMistake) return [error.message, [], exitCodes.failed];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error), [], exitCodes.failed];
}

/** With links followed: Bun knows modules by their real path. */
function existingFolder(folder: string): string {
  try {
    return realpathSync(folder);
  } catch (cause) {
    const message = `The folder ${folder} does not exist. Classes live there, one per file; --objects names another one.`;
    throw new ClassFileError(message, { cause });
  }
}

function folderUnreadable(folder: string, error: unknown): EventText {
  const why = error instanceof Error ? error.message : String(error);
  const subject = `${folder} cannot be followed just now: ${why} The classes from before go on.`;
  return { region: "all", level: "warn", title: "folder unreadable", subject };
}

function readyLine(regions: readonly string[], region: string, url: string, afterMs: number): string {
  const code = palette.region(regions.indexOf(region), region.padEnd(3));
  return `  ${palette.green("✓")} ${code}  ${url}  ${palette.dim(`${Math.round(afterMs)} ms`)}\n`;
}

function bannerFacts(options: DevOptions, cluster: DevCluster, files: readonly string[]) {
  return {
    hosts: cluster.hosts.map(({ region, url = "" }) => ({ region, url })),
    hasDistance: options.hasDistance,
    objectsFolder: options.objectsFolder,
    classFiles: files,
    runner: runner(),
    listener: relative(process.cwd(), join(import.meta.dir, "listen.ts")),
  };
}

/** How this machine runs Bun: as it did for us. */
function runner(): string {
  if (/[\\/]_npx[\\/]/.test(process.execPath)) return `npx -y bun@${Bun.version}`;
  // The script runner lends scripts a `bun` of its own, in a folder of that name.
  const found = Bun.which("bun");
  return found === null || found.includes("bun-node") ? process.execPath : "bun";
}

function write(text: string): void {
  process.stdout.write(text);
}
