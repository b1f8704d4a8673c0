import { estimatedRoundTripMs } from "../../infra/placement/distance.ts";
import { region as regionOf } from "../../infra/placement/regions.ts";
import type { Palette } from "./palette.ts";

export interface BannerFacts {
  /** In the order of the command line: the directory's primary stands in the first. */
  readonly hosts: readonly { readonly region: string; readonly url: string }[];
  readonly hasDistance: boolean;
  /** As the person typed it. */
  readonly objectsFolder: string;
  readonly classFiles: readonly string[];
  /** How to run a file on this machine: `bun`, or `npx -y bun@1.4.5` where there is none on the PATH. */
  readonly runner: string;
  /** The listener's file, as it can be given to the runner. */
  readonly listener: string;
}

/** What a person sees once all hosts serve: where they are, what to paste, and how to go on. */
export function banner(facts: BannerFacts, palette: Palette): string {
  const distance = facts.hasDistance ? "at their real distance (simulated)" : "without distance";
  const count = facts.hosts.length === 1 ? "1 region" : `${facts.hosts.length} regions`;
  const hint = (text: string) => `  ${palette.dim(text)}`;
  return [
    "",
    `  ${palette.bold("Stateful Objects")}  ${count} on this machine, ${distance}`,
    "",
    ...regionTable(facts, palette),
    "",
    ...advice(facts).flatMap(({ what, commands }) => [
      hint(what),
      ...commands.map((line) => `    ${line}`),
      "",
    ]),
    hint(`Edit a file in ${facts.objectsFolder}/, or add one: it is live on save. Ctrl-C stops everything.`),
    "",
  ].join("\n");
}

function regionTable({ hosts, hasDistance }: BannerFacts, palette: Palette): string[] {
  const primary = hosts[0]?.region ?? "";
  const rows = hosts.map(({ region, url }) => ({
    region,
    city: regionOf(region)?.city ?? "",
    url,
    distance: distanceFrom(region, primary, hasDistance),
  }));
  const cityWidth = Math.max(...rows.map(({ city }) => city.length));
  const urlWidth = Math.max(...rows.map(({ url }) => url.length));
  const line = (region: string, city: string, url: string, distance: string) =>
    `  ${region}  ${city.padEnd(cityWidth)}  ${url.padEnd(urlWidth)}  ${distance}`;
  return rows.map(({ region, city, url, distance }, index) =>
    line(palette.region(index, region.padEnd(3)), city, palette.bold(url), palette.dim(distance)),
  );
}

function distanceFrom(region: string, primary: string, hasDistance: boolean): string {
  if (region === primary) return "directory's primary";
  if (!hasDistance) return "";
  return `${Math.round(estimatedRoundTripMs(region, primary))} ms round trip to ${primary}`;
}

interface Advice {
  readonly what: string;
  readonly commands: readonly string[];
}

function advice({ hosts, classFiles, runner, listener }: BannerFacts): Advice[] {
  const near = hosts[0]?.url ?? "";
  const far = hosts.at(-1)?.url ?? near;
  const both = (command: (url: string) => string) => [...new Set([command(near), command(far)])];
  const chat = classFiles.includes("room.ts")
    ? [
        {
          what: "Talk to yourself across the world, in two windows:",
          commands: both((url) => `${url}/room/lobby/chat`),
        },
      ]
    : [];
  if (classFiles.includes("counter.ts")) {
    const socket = `${far.replace(/^http/, "ws")}/counter/a/live`;
    return [
      ...chat,
      {
        what: "Count one number up, from both ends of the world:",
        commands: both((url) => `curl -X POST ${url}/counter/a/increment`),
      },
      { what: "Hear each change, in a second terminal:", commands: [`${runner} ${listener} ${socket}`] },
      { what: "Look into the object:", commands: [`${runner} run storage get counter/a --url ${near}`] },
    ];
  }
  const name = classFiles[0]?.replace(/\.\w+$/, "") ?? "counter";
  return [
    ...chat,
    { what: "Ask one object from both ends of the world:", commands: both((url) => `curl ${url}/${name}/a`) },
    { what: "Where it lives, and why:", commands: [`curl ${near}/-/explain/${name}/a`] },
  ];
}
