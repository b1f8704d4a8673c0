/**
 * A TypeScript file, taken apart just far enough for the house rules: where is code, where are comments, where are texts?
 * There is no parser here. A scanner that knows comments, strings, templates and regular expressions is enough, because
 * the formatter has brought the rest into one shape before the rules are asked (`bun run format:check`).
 *
 * The one guess: a `/` begins a regular expression unless it follows something that can be divided. A regular expression
 * that follows `)` or `}` directly would be taken for a division; none is written like that.
 */
export interface SourceText {
  readonly source: string;
  /**
   * The source with comments, and the insides of texts and regular expressions, blanked. Same length, same line breaks:
   * an index here is an index there. Code inside `${…}` of a template stays.
   */
  readonly code: string;
  /** `code`, line by line. */
  readonly lines: readonly string[];
  /** The words of all comments that touch each line; "" where there are none. */
  readonly comments: readonly string[];
}

const comment = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const quoted = /"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'/y;
const templateText = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/y;
const regularExpression = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
const divisible = /(?:[\w$)\]}"'`]|\+\+|--)$/;
const keywordBeforeExpression = /\b(?:return|typeof|case|in|of|void|throw|do|else|await|yield)$/;

export function sourceText(source: string): SourceText {
  const scanner = new Scanner(source);
  scanner.run();
  const { code } = scanner;
  return { source, code, lines: code.split("\n"), comments: scanner.comments };
}

/** What is between the quotes of a text whose opening quote stands at `open`; undefined where none does. */
export function textAt({ source, code }: SourceText, open: number): string | undefined {
  const quote = code[open];
  if (quote !== '"' && quote !== "'" && quote !== "`") return undefined;
  const close = code.indexOf(quote, open + 1);
  return close < 0 ? undefined : source.slice(open + 1, close);
}

/** From 1. */
export function lineAt({ code }: SourceText, index: number): number {
  return code.slice(0, index).split("\n").length;
}

class Scanner {
  readonly comments: string[];
  readonly #source: string;
  #at = 0;
  /** From 0. */
  #line = 0;
  #code = "";
  /** How many braces are open in each `${…}` that is open, innermost last. */
  readonly #openTemplates: number[] = [];

  constructor(source: string) {
    this.#source = source;
    this.comments = source.split("\n").map(() => "");
  }

  get code(): string {
    return this.#code;
  }

  run(): void {
    while (this.#at < this.#source.length) {
      const found = this.#match(comment);
      if (found !== undefined) this.#takeComment(found);
      else this.#takeCode(this.#source.charAt(this.#at));
    }
  }

  #takeCode(character: string): void {
    const isEndOfHole = character === "}" && this.#openTemplates.at(-1) === 0;
    if (isEndOfHole) this.#openTemplates.pop();
    if (isEndOfHole || character === "`") this.#takeTemplate();
    else this.#takeToken(character);
  }

  #takeToken(character: string): void {
    const text =
      this.#match(quoted) ?? (this.#isRegularExpression() ? this.#match(regularExpression) : undefined);
    if (text !== undefined) {
      this.#keep(text.charAt(0) + blank(text.slice(1, -1)) + text.charAt(0));
      return;
    }
    if (character === "{" || character === "}") {
      const depth = this.#openTemplates.pop();
      if (depth !== undefined) this.#openTemplates.push(depth + (character === "{" ? 1 : -1));
    }
    this.#keep(character);
  }

  /** From a backtick, or from the brace that ends a `${…}`, to the next backtick or `${`. */
  #takeTemplate(): void {
    this.#keep(this.#source.charAt(this.#at));
    this.#keep(blank(this.#match(templateText) ?? ""));
    if (this.#source.startsWith("${", this.#at)) {
      this.#keep("${");
      this.#openTemplates.push(0);
    } else {
      this.#keep(this.#source.charAt(this.#at));
    }
  }

  #takeComment(text: string): void {
    for (const [offset, line] of text.split("\n").entries()) {
      const words = line.replace(/^\s*(?:\/\/+|\/?\*+)|\*\/$/g, "").trim();
      const index = this.#line + offset;
      this.comments[index] = `${this.comments[index] ?? ""} ${words}`.trim();
    }
    this.#keep(blank(text));
  }

  #isRegularExpression(): boolean {
    if (this.#source[this.#at] !== "/") return false;
    const before = this.#code.trimEnd();
    return !divisible.test(before.slice(-2)) || keywordBeforeExpression.test(before.slice(-12));
  }

  #match(token: RegExp): string | undefined {
    token.lastIndex = this.#at;
    return token.exec(this.#source)?.[0];
  }

  #keep(text: string): void {
    this.#code += text;
    this.#at += text.length;
    this.#line += text.split("\n").length - 1;
  }
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, " ");
}
