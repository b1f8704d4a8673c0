import { expect, test } from "bun:test";
import { join } from "node:path";
import { importsOf } from "../support/tidy/imports.ts";
import { projectFiles, projectSources } from "../support/tidy/project-files.ts";

const client = join(import.meta.dir, "../../apps/client");

async function bundle(file: string, external: string[] = []): Promise<string> {
  const { outputs, success, logs } = await Bun.build({
    entrypoints: [join(client, file)],
    target: "browser",
    minify: true,
    external,
  });
  if (!success) throw new AggregateError(logs, `${file} cannot be bundled.`);
  const [output] = outputs;
  return output ? output.text() : "";
}

test("C12 all of the client is less than 10 KiB, minified and gzipped, and brings nobody else along", async () => {
  const code = await bundle("index.ts");
  const bytes = Bun.gzipSync(Buffer.from(code)).length;
  console.log(`stateful-objects/client: ${code.length} bytes minified, ${bytes} gzipped`);
  expect(bytes).toBeLessThan(10 * 1024);
  expect(code).not.toMatch(/\bBun\b|\bprocess\b|\brequire\(|\bfrom"/);
});

test("C12 of the server's code the client takes types, and from elsewhere nothing but React for its hooks", () => {
  const files = projectFiles().filter((file) => file.startsWith("apps/client/"));
  const imports = [...projectSources(files)].flatMap(([file, text]) =>
    importsOf(text).map(({ specifier, isTypeOnly }) => ({ file, specifier, isTypeOnly })),
  );
  const loaded = imports.filter(({ specifier, isTypeOnly }) => !isTypeOnly && !specifier.startsWith("./"));
  expect(loaded).toEqual([{ file: "apps/client/react.ts", specifier: "react", isTypeOnly: false }]);
  const typed = imports.filter(({ specifier, isTypeOnly }) => isTypeOnly && !specifier.startsWith("./"));
  expect(new Set(typed.map(({ specifier }) => specifier))).toEqual(new Set(["../../infra/object/index.ts"]));
});

test("C12 the hooks add little, and leave React to their user", async () => {
  const code = await bundle("react.ts", ["react"]);
  const bytes = Bun.gzipSync(Buffer.from(code)).length;
  console.log(`stateful-objects/client/react: ${bytes} bytes gzipped`);
  expect(bytes).toBeLessThan(1024);
  expect([...code.matchAll(/\bfrom"([^"]+)"/g)].map(([, name]) => name)).toEqual(["react"]);
});
