import { expect, test } from "bun:test";
import { functionsOf } from "./support/tidy/function-length.ts";
import { type Import, importedFile, importsOf } from "./support/tidy/imports.ts";
import { expectNone, type Offence } from "./support/tidy/offence.ts";
import { privatePlaceIn } from "./support/tidy/private-places.ts";
import { projectFiles, projectSources, readProjectFile } from "./support/tidy/project-files.ts";
import { quotedRules, rulesOf } from "./support/tidy/rule-ids.ts";
import { unexplainedSilences } from "./support/tidy/silenced-compiler.ts";
import type { SourceText } from "./support/tidy/source-text.ts";

/**
 * The house rules, as a test: what a reviewer would have to say again and again. Each test reports everything that breaks
 * its rule at once, as file:line, and says what to do. How the rules look at code is tried out on samples in
 * `support/tidy/tidy-samples.test.ts`.
 */
const files = projectFiles();
const sources = projectSources(files);

const fileLinesMax = 400;
const functionLinesMax = 70;

/**
 * Which folder of `infra/` may import which: the arrows of the architecture. They must not form a circle, and whoever is
 * on the left may use only what is on the right of it. A stage that needs more has something of another stage inside it.
 */
const infraArrows: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  lease: ["lib"],
  link: ["lib"],
  placement: ["lease", "lib"],
  object: ["lib"],
  storage: ["lease", "lib"],
  topics: ["object", "lib"],
  host: ["lease", "lib", "object", "storage", "topics"],
  edge: ["host", "lease", "lib", "link", "object", "placement", "topics"],
  deploy: [],
};

/** All that the authors' classes may import besides each other. */
const authorsPackages = ["elysia", "stateful-objects"];

test("files fit in the head", () => {
  const offences: Offence[] = [];
  for (const [file, { lines }] of sourcesIn("infra/", "objects/")) {
    const length = lines.at(-1) === "" ? lines.length - 1 : lines.length;
    if (length > fileLinesMax) offences.push({ file, line: fileLinesMax + 1, what: `has ${length} lines` });
  }
  expectNone(
    offences,
    `A file has at most ${fileLinesMax} lines: move one piece of state into a file of its own.`,
  );
});

test("functions fit on a screen", () => {
  const offences: Offence[] = [];
  for (const [file, text] of sourcesIn("infra/", "apps/")) {
    for (const { line, length, head } of functionsOf(text)) {
      if (length > functionLinesMax) offences.push({ file, line, what: `${length} lines: ${head}` });
    }
  }
  expectNone(offences, `A function has at most ${functionLinesMax} lines: give its steps names.`);
});

test("the compiler is silenced for a reason only", () => {
  const offences: Offence[] = [];
  for (const [file, text] of sources) {
    for (const { line, what } of unexplainedSilences(text)) {
      offences.push({ file, line, what: `${what} without a reason` });
    }
  }
  expectNone(
    offences,
    "Narrow the type, or say why it is safe: in a comment on the same line or directly above it.",
  );
});

test("files are called after things of the domain", () => {
  const named = files.filter((file) =>
    /(?:^|[/_.-])(?:utils?|helpers?|managers?|misc)(?=[/_.-]|$)/i.test(file),
  );
  const offences = named.map((file) => ({ file, line: 1, what: "says nothing about what is inside" }));
  expectNone(offences, "Name the file after the one thing that it holds.");
});

test("infra/ imports infra/ along the arrows only", () => {
  const offences: Offence[] = [];
  for (const [file, text] of sourcesIn("infra/")) {
    const stage = stageOf(file) ?? "";
    const allowed = [stage, ...(infraArrows[stage] ?? [])];
    for (const { specifier, line } of importsOf(text)) {
      const target = importedFile(file, specifier);
      if (target === undefined) {
        if (specifier.startsWith("stateful-objects"))
          offences.push({ file, line, what: "imports us by name" });
      } else if (!allowed.includes(stageOf(target) ?? target)) {
        offences.push({ file, line, what: `imports ${target}; ${stage} may import ${allowed.join(", ")}` });
      }
    }
  }
  const remedy = "Pass it in through a port, move it, or draw the arrow in infraArrows (tests/tidy.test.ts).";
  expectNone(offences, remedy);
});

test("the arrows of infra/ name every folder and form no circle", () => {
  const stages = new Set(sourcesIn("infra/").map(([file]) => stageOf(file)));
  for (const stage of stages)
    expect(Object.keys(infraArrows)).toContain(stage ?? "a file directly in infra/");
  const reaches = (stage: string): string[] =>
    (infraArrows[stage] ?? []).flatMap((next) => [next, ...reaches(next)]);
  for (const stage of Object.keys(infraArrows)) expect(reaches(stage)).not.toContain(stage);
});

test("objects/ import web standards, Elysia and us, nothing else", () => {
  const offences: Offence[] = [];
  for (const [file, text] of sourcesIn("objects/")) {
    for (const { specifier, line } of importsOf(text)) {
      const target = importedFile(file, specifier);
      const allowed = target?.startsWith("objects/") ?? authorsPackages.includes(specifier);
      if (!allowed) offences.push({ file, line, what: `imports "${specifier}"` });
    }
  }
  const remedy = `A class imports ${authorsPackages.join(", ")} and other files of objects/; the rest comes in as a resource.`;
  expectNone(offences, remedy);
});

test("what authors import loads without Bun", () => {
  const offences: Offence[] = [];
  for (const [file, importer] of loadedBy(sourcesIn("infra/object/").map(([file]) => file))) {
    const text = sources.get(file);
    if (!text) continue;
    const because = file === importer ? "" : ` (loaded by ${importer})`;
    for (const { specifier, line, isTypeOnly } of importsOf(text)) {
      const isRuntime = /^(?:bun|node)(?::|$)/.test(specifier) && !isTypeOnly;
      if (isRuntime) offences.push({ file, line, what: `imports "${specifier}"${because}` });
    }
    for (const [index, line] of text.lines.entries()) {
      const usesBun = /(?<![.\w$])Bun\s*[.[]/.test(line);
      if (usesBun) offences.push({ file, line: index + 1, what: `uses the global Bun${because}` });
    }
  }
  expectNone(offences, "It must load under Deno too: use web standards, or let the host pass it in.");
});

test("nothing names one machine, or a registry that others cannot reach", () => {
  const offences: Offence[] = [];
  for (const file of files) {
    const content = readProjectFile(file);
    if (content.includes("\0")) continue;
    for (const [index, line] of content.split("\n").entries()) {
      const what = privatePlaceIn(file, line);
      if (what !== undefined) offences.push({ file, line: index + 1, what });
    }
  }
  expectNone(
    offences,
    "Use a path from the root of the project, a directory made for the test, or the public registry.",
  );
});

test("every rule of a README is quoted by a test", () => {
  const quoted = new Set(sourcesIn("tests/").flatMap(([, text]) => [...quotedRules(text)]));
  const offences: Offence[] = [];
  for (const file of files.filter((name) => name.endsWith("README.md"))) {
    for (const { id, line } of rulesOf(readProjectFile(file))) {
      if (!quoted.has(id)) offences.push({ file, line, what: `no test quotes ${id}` });
    }
  }
  const remedy =
    'Write a test whose name begins with the id, or say "not built yet" in the rule while that is so.';
  expectNone(offences, remedy);
});

function sourcesIn(...folders: readonly string[]): [string, SourceText][] {
  return [...sources].filter(([file]) => folders.some((folder) => file.startsWith(folder)));
}

/** The folder of `infra/` that a file is in; undefined outside. */
function stageOf(file: string): string | undefined {
  return /^infra\/([^/]+)\//.exec(file)?.[1];
}

/** These files and all that they load at run time, each with a file that loads it. */
function loadedBy(entries: readonly string[]): Map<string, string> {
  const loaded = new Map(entries.map((file) => [file, file]));
  // A Map goes on to what is added to it meanwhile.
  for (const file of loaded.keys()) {
    for (const next of importsAtRunTime(file)) {
      const target = importedFile(file, next.specifier);
      if (target !== undefined && !loaded.has(target)) loaded.set(target, file);
    }
  }
  return loaded;
}

function importsAtRunTime(file: string): Import[] {
  const text = sources.get(file);
  return text ? importsOf(text).filter(({ isTypeOnly }) => !isTypeOnly) : [];
}
