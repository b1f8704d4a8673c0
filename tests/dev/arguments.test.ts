import { expect, test } from "bun:test";
import { ArgumentError, parseArguments, usage } from "../../apps/dev/arguments.ts";

function refusalOf(...args: string[]): string {
  try {
    parseArguments(args);
  } catch (error) {
    if (error instanceof ArgumentError) return error.message;
    throw error;
  }
  throw new Error(`${args.join(" ")} was accepted`);
}

test("without arguments there are three regions from port 4001 on", () => {
  expect(parseArguments([])).toEqual({
    regions: ["iad", "ams", "nrt"],
    port: 4001,
    hasDistance: true,
    isFresh: false,
    objectsFolder: "objects",
    dataFolder: "data/dev",
  });
});

test("every option is understood", () => {
  const args = [
    "--regions",
    "FRA, syd",
    "--port",
    "0",
    "--no-distance",
    "--fresh",
    "--objects",
    "o",
    "--data=d",
  ];
  expect(parseArguments(args)).toEqual({
    regions: ["fra", "syd"],
    port: 0,
    hasDistance: false,
    isFresh: true,
    objectsFolder: "o",
    dataFolder: "d",
  });
});

test("--help and -h ask for help, which names every option", () => {
  expect(parseArguments(["--help"])).toBe("help");
  expect(parseArguments(["-h"])).toBe("help");
  for (const option of ["--regions", "--port", "--no-distance", "--objects", "--data", "--fresh"]) {
    expect(usage).toContain(option);
  }
});

test("an unknown region is refused with the list of those that exist", () => {
  const refusal = refusalOf("--regions", "iad,xyz");
  expect(refusal).toContain('no region "xyz"');
  expect(refusal).toContain("nrt  Tokyo, Japan");
});

test("1 to 8 regions, each once", () => {
  expect(refusalOf("--regions", ",")).toContain("has 0 regions");
  expect(refusalOf("--regions", "ams,arn,bom,cdg,dfw,ewr,fra,gru,iad")).toContain("has 9 regions");
  expect(refusalOf("--regions", "iad,ams,iad")).toContain("names iad twice");
});

test.each(["http", "-1", "65536", "1.5", ""])("--port %p is refused", (port) => {
  expect(refusalOf(`--port=${port}`)).toContain("whole number from 0 to 65535");
});

test("an unknown option is refused, and where to look is said", () => {
  expect(refusalOf("--region", "iad")).toContain("--region");
  expect(refusalOf("extra")).toContain("--help");
  expect(refusalOf("--objects=")).toContain("--objects needs the name of a folder");
});
