import { parseArgs } from "node:util";
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
  const rounds = number("--rounds", values.rounds, 1, roundsMax);
  const seconds = number("--seconds", values.seconds, 0.01, secondsMax);
  return { only: values.only, pace: { rounds: Math.round(rounds), seconds }, jsonFile: values.json };
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (value >= min && value <= max) return value;
  throw new Error(`${name} is "${text}"; it must be a number from ${min} to ${max}.`);
}
