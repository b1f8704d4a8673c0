/** Colours of the terminal, or none: on a pipe, and where NO_COLOR asks for none (no-color.org). */
export interface Palette {
  dim(text: string): string;
  bold(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  green(text: string): string;
  /** Each region has a colour of its own, by its place in the list. */
  region(index: number, text: string): string;
}

const plainText = (text: string): string => text;

export const plain: Palette = {
  dim: plainText,
  bold: plainText,
  red: plainText,
  yellow: plainText,
  green: plainText,
  region: (_, text) => text,
};

/** Cyan, magenta, blue, green and their bright kin: red and yellow are kept for what is wrong. */
const regionCodes = [36, 35, 34, 32, 96, 95, 94, 92];

export const colored: Palette = {
  dim: painter(2, 22),
  bold: painter(1, 22),
  red: painter(31, 39),
  yellow: painter(33, 39),
  green: painter(32, 39),
  region: (index, text) => painter(regionCodes[index % regionCodes.length] ?? 39, 39)(text),
};

export function paletteFor(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): Palette {
  return isTerminal && !env.NO_COLOR && env.TERM !== "dumb" ? colored : plain;
}

function painter(on: number, off: number): (text: string) => string {
  return (text) => `\u001b[${on}m${text}\u001b[${off}m`;
}
