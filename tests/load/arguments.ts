import { parseArgs } from "node:util";
import type { Size } from "./scenario.ts";

export interface Arguments {
  /** Scenarios whose name contains one of these; all where there are none. */
  readonly only: readonly string[];
  readonly size: Size;
  readonly jsonFile: string;
}

/** @throws Error naming the option that is wrong. */
export function readArguments(args: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true, default: [] },
      size: { type: "string", default: "full" },
      json: { type: "string", default: "data/load.json" },
    },
  });
  const { only, size, json } = values;
  if (size !== "full" && size !== "small") throw new Error(`--size is "${size}"; it must be full or small.`);
  return { only, size, jsonFile: json };
}
