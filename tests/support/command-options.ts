/** What the options of commands mean. Each function throws an Error that names the option and says what it must be. */
export interface Bounds {
  /** Default 0. */
  readonly min?: number;
  /** Default: none. */
  readonly max?: number;
}

export function numberOption(name: string, text: string, { min = 0, max }: Bounds = {}): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= min && value <= (max ?? Number.MAX_VALUE)) return value;
  throw new Error(`${name} is "${text}"; it must be a number ${rangeOf(min, max)}.`);
}

export function wholeNumberOption(name: string, text: string, { min = 0, max }: Bounds = {}): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= min && value <= (max ?? Number.MAX_VALUE)) return value;
  throw new Error(`${name} is "${text}"; it must be a whole number ${rangeOf(min, max)}.`);
}

/** A seed, or a new one. */
export function seedOption(name: string, text: string | undefined): number {
  if (text === undefined) return Math.floor(Math.random() * 2 ** 31);
  return wholeNumberOption(name, text, { max: 2 ** 32 - 1 });
}

/** Those that a list names, `a,b`; all of them where there is no list. */
export function namesOption<Name extends string>(
  name: string,
  text: string | undefined,
  known: readonly Name[],
): readonly Name[] {
  if (text === undefined) return known;
  return text.split(",").map((wanted) => {
    const found = known.find((each) => each === wanted);
    if (found === undefined)
      throw new Error(`${name} has "${wanted}", which is none of ${known.join(", ")}.`);
    return found;
  });
}

function rangeOf(min: number, max: number | undefined): string {
  return max === undefined ? `of ${min} or more` : `from ${min} to ${max}`;
}
