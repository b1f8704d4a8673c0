/** A failure in words for a person, short enough to read: what, and where in the person's own code. */
export interface FailureReport {
  readonly message: string;
  /** Lines to print below it: source with a caret, or the frames of the stack that are the person's own. */
  readonly details: readonly string[];
}

const framesMax = 6;
const buildErrorsMax = 5;
const causesMax = 4;

/** Errors that say what to do in their message: where they were thrown is of no interest. */
const speakForThemselves = new Set(["ClassFileError", "ConfigError", "StatefulError"]);

/** Anything thrown, as a report. Paths become relative to `root`. */
export function failureReport(thrown: unknown, root: string): FailureReport {
  const build = buildErrorsOf(thrown);
  const message = build.length > 0 ? firstWords(thrown) : headline(thrown);
  const details = build.length > 0 ? build.flatMap(buildErrorLines) : stackLines(thrown);
  return { message: relative(message, root), details: details.map((line) => relative(line, root)) };
}

export function isFailureReport(value: unknown): value is FailureReport {
  if (typeof value !== "object" || value === null) return false;
  return "message" in value && "details" in value && Array.isArray(value.details);
}

function headline(thrown: unknown): string {
  if (!(thrown instanceof Error)) return typeof thrown === "string" ? thrown : Bun.inspect(thrown);
  const { name, message } = thrown;
  return speakForThemselves.has(name) || name === "Error" ? message : `${name}: ${message}`;
}

// -- files that do not compile

/** What Bun's transpiler and linker throw: one for each mistake, alone or in an AggregateError. */
interface BuildError {
  readonly message: string;
  readonly position?: BuildPosition | null;
}

interface BuildPosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly lineText: string;
}

function buildErrorsOf(thrown: unknown): readonly BuildError[] {
  for (const error of withCauses(thrown)) {
    const several = error instanceof AggregateError ? error.errors : [error];
    const found = several.filter(isBuildError);
    if (found.length > 0) return found;
  }
  return [];
}

function isBuildError(value: unknown): value is BuildError {
  return value instanceof BuildMessage || value instanceof ResolveMessage;
}

/** `counter.ts cannot be loaded: 2 errors building "…"`, without what the details say better. */
function firstWords(thrown: unknown): string {
  const [words = ""] = headline(thrown).split(":");
  return thrown instanceof Error && thrown.name === "ClassFileError" ? `${words}.` : "It does not compile.";
}

function buildErrorLines({ message, position }: BuildError, index: number): string[] {
  if (index === buildErrorsMax) return ["…"];
  if (index > buildErrorsMax) return [];
  if (!position) return [message];
  const { file, line, column, lineText } = position;
  const caret = `${" ".repeat(Math.max(0, column - 1))}^`;
  return [`${file}:${line}:${column}  ${message}`, `  ${lineText.replaceAll("\t", " ")}`, `  ${caret}`];
}

// -- everything else

function stackLines(thrown: unknown): string[] {
  const lines: string[] = [];
  for (const [depth, error] of withCauses(thrown).entries()) {
    if (depth > 0 && !saysWhatItsParentSays(error, thrown)) lines.push(`because ${headline(error)}`);
    if (error instanceof Error && !speakForThemselves.has(error.name)) lines.push(...ownFrames(error));
  }
  return lines;
}

function saysWhatItsParentSays(error: unknown, parent: unknown): boolean {
  return error instanceof Error && parent instanceof Error && parent.message.includes(error.message);
}

function withCauses(thrown: unknown): unknown[] {
  const chain = [thrown];
  for (let error = thrown; error instanceof Error && error.cause !== undefined; error = error.cause) {
    if (chain.length > causesMax || chain.includes(error.cause)) break;
    chain.push(error.cause);
  }
  return chain;
}

/** The frames in the person's own code; all where there are none. */
function ownFrames(error: Error): string[] {
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const own = frames.filter(
    (line) => !/node_modules|node:|bun:|native:|\(native|<anonymous>$|\/infra\/|\/apps\//.test(line),
  );
  // A reloaded file was imported under a name of its own: counter.ts?v=3.
  return (own.length > 0 ? own : frames)
    .slice(0, framesMax)
    .map((line) => line.trim().replace(/\?v=\w+/, ""));
}

function relative(text: string, root: string): string {
  return text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
}
