import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { errorCodes } from "../infra/lib/errors.ts";

const readme = await Bun.file(`${import.meta.dir}/../README.md`).text();

function errorTable(): string {
  const rows = errorCodes().map(
    ({ code, status, close, retry, title }) =>
      `| \`${code}\` | ${status} | ${close} | ${retry ? "yes" : ""} | ${title} |`,
  );
  return ["| code | HTTP | socket | retry | |", "|---|---|---|---|---|", ...rows].join("\n");
}

/** Without the padding of a formatter. */
function cells(table: string): string[][] {
  return table
    .trim()
    .split("\n")
    .map((row) => row.split("|").map((cell) => cell.trim().replace(/^-+$/, "---")));
}

test("the README's table of errors is the one in the code", () => {
  const [, between = ""] = /<!-- error-table:.*?-->\n([\s\S]*?)<!-- \/error-table -->/.exec(readme) ?? [];
  expect(cells(between)).toEqual(cells(errorTable()));
});

test("the README's two commands name the pinned version of Bun", async () => {
  const ci = await Bun.file(`${import.meta.dir}/../.ci/run`).text();
  expect(readme).toContain("npx -y bun@1.4.5 run dev");
  expect(readme).toContain("npx -y bun@1.4.5 run test");
  expect(ci).toContain("bun@1.4.5");
});

test("all that the threat model leads to is there", async () => {
  const folder = join(import.meta.dir, "../infra");
  const text = await Bun.file(join(folder, "SECURITY.md")).text();
  const links = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, link = ""]) => link);
  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((link) => !existsSync(join(folder, link)))).toEqual([]);
});
