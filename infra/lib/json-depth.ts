/**
 * How deep JSON of a client's may be nested. Parsing, checking and writing it again cost more than in proportion to that: 80 KB,
 * nested 40,000 deep, keep the process for a second.
 */
export const jsonDepthMax = 128;

/** Whether JSON is nested deeper; of anything else the answer means nothing. */
export function isDeeper(text: string, depthMax: number): boolean {
  if (text.length <= depthMax) return false;
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit === quote) index = endOfString(text, index);
    else if (unit === openBracket || unit === openBrace) depth++;
    else if (unit === closeBracket || unit === closeBrace) depth--;
    if (depth > depthMax) return true;
  }
  return false;
}

/** Where the string ends that begins there. */
function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length && text.charCodeAt(index) !== quote)
    index += text.charCodeAt(index) === backslash ? 2 : 1;
  return index;
}

const [quote, backslash] = [0x22, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];
