import { parseArgs } from "node:util";
import { currentRegions, region } from "../../infra/placement/regions.ts";

/** What a person asked `bun run dev` for. */
export interface DevOptions {
  /** At least one. The directory's primary stands in the first. */
  readonly regions: readonly string[];
  /** Port of the first region; the others follow. 0: any free one for each. */
  readonly port: number;
  readonly hasDistance: boolean;
  /** Begin with an empty directory. */
  readonly isFresh: boolean;
  readonly objectsFolder: string;
  readonly dataFolder: string;
}

/** A command line that cannot be followed. The message says what may stand there. */
export class ArgumentError extends Error {
  override readonly name = "ArgumentError";
}

export const regionsMax = 8;
const portMax = 65_535;

const defaults = {
  regions: "iad,ams,nrt",
  port: "4001",
  objects: "objects",
  data: "data/dev",
} as const;

export const usage = `Several regions of Stateful Objects on this machine, each a process of its own.

  bun run dev [options]

  --regions ${defaults.regions}   Fly.io region codes, 1 to ${regionsMax}; the directory's primary stands in the first
  --port ${defaults.port}             port of the first region, the others follow; taken ones are skipped; 0 for any
  --no-distance           no simulated distance between the regions
  --objects ${defaults.objects}       folder with the classes, one per file
  --data ${defaults.data}         folder for what is kept between runs
  --fresh                 begin with an empty directory
  --help                  this text

Regions: ${currentRegions.map(({ code }) => code).join(" ")}
`;

/**
 * Understands a command line, without the program's name.
 *
 * @throws ArgumentError where it makes no sense
 */
export function parseArguments(args: readonly string[]): DevOptions | "help" {
  const values = parsed(args);
  if (values.help) return "help";
  return {
    regions: regionList(values.regions),
    port: portNumber(values.port),
    hasDistance: !values["no-distance"],
    isFresh: values.fresh,
    objectsFolder: folderName("--objects", values.objects),
    dataFolder: folderName("--data", values.data),
  };
}

function parsed(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        regions: { type: "string", default: defaults.regions },
        port: { type: "string", default: defaults.port },
        "no-distance": { type: "boolean", default: false },
        objects: { type: "string", default: defaults.objects },
        data: { type: "string", default: defaults.data },
        fresh: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    return values;
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split(". ");
    throw new ArgumentError(`${reason}. What may be given: bun run dev --help`);
  }
}

function regionList(text: string): string[] {
  const codes = text
    .toLowerCase()
    .split(",")
    .map((code) => code.trim())
    .filter(Boolean);
  if (codes.length === 0 || codes.length > regionsMax) {
    throw new ArgumentError(
      `--regions has ${codes.length} regions; it takes 1 to ${regionsMax}, as in ${defaults.regions}.`,
    );
  }
  const unknown = codes.find((code) => region(code) === undefined);
  if (unknown !== undefined) throw unknownRegion(unknown);
  const twice = codes.find((code, index) => codes.indexOf(code) !== index);
  if (twice !== undefined)
    throw new ArgumentError(`--regions names ${twice} twice. One host runs in each region.`);
  return codes;
}

function unknownRegion(code: string): ArgumentError {
  const known = currentRegions.map(({ code, city }) => `  ${code}  ${city}`).join("\n");
  return new ArgumentError(`There is no region "${code}". Choose from:\n${known}`);
}

function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= portMax) return port;
  throw new ArgumentError(`--port is "${text}"; it must be a whole number from 0 to ${portMax}.`);
}

function folderName(option: string, text: string): string {
  if (text !== "") return text;
  throw new ArgumentError(`${option} needs the name of a folder.`);
}
