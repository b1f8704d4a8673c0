import { parseArgs } from "node:util";
import { numberOption } from "../support/command-options.ts";
import type { Pace } from "./pace.ts";

export interface Arguments {
  /** Measures whose name contains one of these; all where there are none. */
  readonly only: readonly string[];
  readonly pace: Pace;
  readonly jsonFile: string;
}

const roundsMax = 100;
const secondsMax = 60;

/** @throws Error naming the option that is wrong. */
export function readArguments(args: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "0.6" },
      json: { type: "string", default: "data/bench.json" },
    },
  });
  const rounds = numberOption("--rounds", values.rounds, { min: 1, max: roundsMax });
  const seconds = numberOption("--seconds", values.seconds, { min: 0.01, max: secondsMax });
  return { only: values.only, pace: { rounds: Math.round(rounds), seconds }, jsonFile: values.json };
}
