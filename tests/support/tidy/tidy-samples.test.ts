// biome-ignore-all lint/suspicious/noTemplateCurlyInString: samples of source are texts with holes in them
import { describe, expect, test } from "bun:test";
import { functionsOf } from "./function-length.ts";
import { importedFile, importsOf } from "./imports.ts";
import { expectNone } from "./offence.ts";
import { privatePlaceIn } from "./private-places.ts";
import { quotedRules, rulesOf } from "./rule-ids.ts";
import { unexplainedSilences } from "./silenced-compiler.ts";
import { sourceText, textAt } from "./source-text.ts";

describe("taking a source apart", () => {
  /** What is left of one line once texts, comments and regular expressions are blanked. */
  const code = (source: string) => sourceText(source).code.replaceAll(/ +/g, " ").trim();

  test("texts, escapes and comments", () => {
    expect(code("call(\"a // no comment\", 'it\\'s'); // done")).toBe(`call(" ", ' ');`);
    expect(code('const a = "\\\\"; b')).toBe('const a = " "; b');
    expect(code("one; /* two\n two */ three")).toBe("one; \n three");
  });

  test("templates keep the code in their holes, also one inside another", () => {
    expect(code("`it's ${name!} and ${list.map((x) => `<${x}>`)}` + after")).toBe(
      "` ${name!} ${list.map((x) => ` ${x} `)}` + after",
    );
    expect(code("`${{ a: { b: 1 } }.a.b} { } not code` + after")).toBe("`${{ a: { b: 1 } }.a.b} ` + after");
    expect(code("`\\${no} \\` $ still` + after")).toBe("` ` + after");
  });

  test("regular expressions and divisions", () => {
    expect(code("const a = /[/'\"]/g.test(b) / 2 / c;")).toBe("const a = / /.test(b) / 2 / c;");
    expect(code("return /it's/;")).toBe("return / /;");
    expect(code("(a + b) / 2; // it's half")).toBe("(a + b) / 2;");
  });

  test("length and lines stay as they are, comments are kept by line", () => {
    const source = 'a("x"); // first\n/* second\n * third */\nb(); /** fourth */ // too';
    const text = sourceText(source);
    expect(text.code.length).toBe(source.length);
    expect(text.comments).toEqual(["first", "second", "third", "fourth too"]);
    expect(textAt(text, source.indexOf('"'))).toBe("x");
  });
});

describe("how long functions are", () => {
  const found = (source: string) =>
    functionsOf(sourceText(source)).map(({ line, length, head }) => `${line}+${length} ${head}`);

  test("functions, methods and arrows, inner ones too", () => {
    expect(found("export function a(): void {\n  b();\n}\n")).toEqual(["1+3 export function a(): void {"]);
    expect(
      found("class A {\n  constructor() {\n    b();\n  }\n\n  get c(): Map<string, {}> {\n    d();\n  }\n}"),
    ).toEqual(["2+3 constructor() {", "6+3 get c(): Map<string, {}> {"]);
    expect(found("const a = () => {\n  b((c) => {\n    d();\n  });\n};")).toEqual([
      "1+5 const a = () => {",
      "2+3 b((c) => {",
    ]);
  });

  test("a head of several lines belongs to the function", () => {
    expect(found("function a(\n  b: string,\n): Promise<void> {\n  c();\n}")).toEqual(["1+5 function a("]);
    expect(found("function a(\n  b: string,\n): Promise<{\n  c: 1;\n}> {\n  d();\n}")).toEqual([
      "1+7 function a(",
    ]);
  });

  test("arrows without a block", () => {
    expect(found("const a = (b) => ({\n  c,\n});")).toEqual(["1+3 const a = (b) => ({"]);
    expect(found("const a = (b) =>\n  b.c()\n    .d();\ne();")).toEqual(["1+3 const a = (b) =>"]);
  });

  test("blocks that are no functions", () => {
    const loops =
      "if (a) {\n  b();\n} else if (c) {\n  d();\n}\nfor (const e of f()) {\n  g();\n}\nswitch (h()) {\n}";
    expect(found(loops)).toEqual([]);
    expect(found("if (\n  a() &&\n  b()\n) {\n  c();\n} else if (\n  d()\n) {\n  e();\n}")).toEqual([]);
    expect(found("class A extends mixin(B) {\n  c = 1;\n}\nconst d = e({\n  f: 1,\n});")).toEqual([]);
    expect(found("try {\n  a();\n} catch (error) {\n  b();\n}")).toEqual([]);
  });

  test("braces in texts do not count", () => {
    expect(found('function a() {\n  b("}");\n  c(`\n}\n`);\n}')).toEqual(["1+6 function a() {"]);
  });
});

describe("silencing the compiler", () => {
  const found = (source: string) =>
    unexplainedSilences(sourceText(source)).map(({ line, what }) => `${line} ${what}`);

  test("is found in each of its forms", () => {
    expect(found("let a: any;\nlet b: Map<string, any[]>;\ntype C<T = any> = T;")).toEqual([
      "1 any",
      "2 any",
      "3 any",
    ]);
    expect(found("a!.b();\nc()!;\nd[0]! + 1;\nclass E {\n  f!: string;\n}")).toEqual([
      "1 !",
      "2 !",
      "3 !",
      "5 !",
    ]);
    expect(found("const a = b as C;\nconst d = <E>(f as unknown as E);\n(g() as { h: 1 }).h;")).toEqual([
      "1 as",
      "2 as",
      "3 as",
    ]);
    expect(found("// @ts-expect-error\na();\nb(); // @ts-ignore")).toEqual([
      "1 @ts-expect-error",
      "3 @ts-ignore",
    ]);
  });

  test("is fine with a reason on the line or directly above", () => {
    expect(found("const a = b as C; // the map was made two lines above")).toEqual([]);
    expect(found("// The map was made\n// two lines above.\nconst a = b as C;")).toEqual([]);
    expect(found("// @ts-expect-error: a wrong body must not compile\na();")).toEqual([]);
    expect(found("// biome-ignore lint/style/noNonNullAssertion: checked when it was put in\na!;")).toEqual(
      [],
    );
  });

  test("is not excused by a word, a bare directive or a comment farther up", () => {
    expect(found("const a = b as C; // cast")).toEqual(["1 as"]);
    expect(found("// biome-ignore lint/style/noNonNullAssertion:\na!;")).toEqual(["2 !"]);
    expect(found("// The map was made two lines above.\n\nconst a = b as C;")).toEqual(["3 as"]);
  });

  test("is not what only looks like it", () => {
    expect(found("await Promise.any(a);\nAbortSignal.any([b]);\nconst c = { any: 1 };")).toEqual([]);
    expect(found("if (!a || b !== c || d != e) f(!g);")).toEqual([]);
    expect(
      found('import { a as b } from "c";\nimport * as d from "e";\nexport {\n  f as g,\n  h,\n};'),
    ).toEqual([]);
    expect(found('const a = ["b"] as const;\napp.as("scoped");\nhook({ as: "global" });')).toEqual([]);
    expect(found("type A = { [K in keyof B as `get${K}`]: B[K] };")).toEqual([]);
    expect(found('say("as good as any!"); // as any other\n/* any! */')).toEqual([]);
  });
});

describe("imports", () => {
  test("in each of their forms", () => {
    const source = [
      'import a, { type B } from "./a.ts";',
      'import type { C } from "c";',
      "export {\n  d,\n  e,\n} from '../d.ts';",
      'import "./side-effect.ts";',
      'const f = await import("f");',
      'new Worker(new URL("./worker.ts", import.meta.url));',
      '// import "g";',
      "const h = \"import i from 'i'\";",
    ].join("\n");
    const found = importsOf(sourceText(source)).toSorted((a, b) => a.line - b.line);
    expect(
      found.map(({ specifier, line, isTypeOnly }) => `${line} ${specifier}${isTypeOnly ? " type" : ""}`),
    ).toEqual(["1 ./a.ts", "2 c type", "6 ../d.ts", "7 ./side-effect.ts", "8 f", "9 ./worker.ts"]);
  });

  test("lead to files of the project, or to packages", () => {
    expect(importedFile("infra/edge/edge.ts", "../lib/errors.ts")).toBe("infra/lib/errors.ts");
    expect(importedFile("infra/edge/edge.ts", "./route.ts")).toBe("infra/edge/route.ts");
    expect(importedFile("infra/edge/edge.ts", "elysia")).toBeUndefined();
  });
});

describe("rules and who quotes them", () => {
  test("a rule begins a list item, a heading or a row of a table", () => {
    const readme =
      "# A\n- **L1 One row.** Text\n### K2 Two\n| P3 | three |\n**S4** four\nSee L5, and L6.\n- L7: seven";
    expect(rulesOf(readme).map(({ id, line }) => `${line} ${id}`)).toEqual([
      "2 L1",
      "3 K2",
      "4 P3",
      "5 S4",
      "7 L7",
    ]);
  });

  test("a rule that is not built yet is let off, on whichever of its lines it says so", () => {
    expect(rulesOf("- **L7 Moves.** Text\n  (not built yet)\n- **L8** Text").map(({ id }) => id)).toEqual([
      "L8",
    ]);
    expect(rulesOf("- **L7 Moves.** Text\n\nOther things are not built yet.").map(({ id }) => id)).toEqual([
      "L7",
    ]);
  });

  test("a test quotes it in its name, or in the list of cases that it is made from", () => {
    const quoted = (source: string) => [...quotedRules(sourceText(source))];
    expect(quoted('test("L1 one row, K2 too", () => {});')).toEqual(["L1", "K2"]);
    expect(quoted("test(\n  `L3 on ${directory}`,\n  run,\n);")).toEqual(["L3"]);
    expect(quoted('test.each([["a", (b)]])("P4 %s", () => {});')).toEqual(["P4"]);
    expect(quoted('const cases = [["L5 stale is harmless", 1]];\ntest(name, run);')).toEqual(["L5"]);
    expect(quoted('// test("L6")\nexpect(a).toBe("see L7");')).toEqual([]);
  });
});

describe("private places", () => {
  const file = (...parts: string[]) => parts.join("/");

  test("paths of one machine, anywhere", () => {
    expect(privatePlaceIn("a.md", `see ${file("", "home", "ada", "project")}`)).toContain("absolute path");
    expect(privatePlaceIn("a.ts", `"${file("", "Users", "ada")}"`)).toContain("absolute path");
    expect(privatePlaceIn("a.ts", `file://${file("", "root", "x")}`)).toContain("absolute path");
    for (const fine of [
      "https://example.com/home/page",
      "./root/a",
      "`${base}/work/a`",
      "/room/lobby",
      "/usr/bin/env",
    ]) {
      expect(privatePlaceIn("a.ts", fine)).toBeUndefined();
    }
  });

  test("registries that others cannot reach", () => {
    const mirror = `https://${["npm", "corp", "example"].join(".")}/elysia`;
    expect(privatePlaceIn("bun.lock", "https://github.com/elysiajs/elysia")).toBeUndefined();
    expect(privatePlaceIn("bun.lock", mirror)).toContain("the host of a registry");
    expect(privatePlaceIn("bunfig.toml", `registry = "${mirror}"`)).toContain("the host of a registry");
    expect(privatePlaceIn("README.md", mirror)).toBeUndefined();
    expect(privatePlaceIn(".npmrc", `//x/:${["", "authToken"].join("_")}=1`)).toContain("credentials");
  });
});

test("offences are reported all at once, in order, with what to do", () => {
  const offences = [
    { file: "b.ts", line: 1, what: "is late" },
    { file: "a.ts", line: 10, what: "is long" },
    { file: "a.ts", line: 9, what: "is wrong" },
  ];
  const report = "3 to tidy up. Be good.\n  a.ts:9  is wrong\n  a.ts:10  is long\n  b.ts:1  is late";
  expect(() => expectNone(offences, "Be good.")).toThrow(report);
  expectNone([], "Be good.");
});
