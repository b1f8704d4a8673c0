import { expect, test } from "bun:test";
import { errorCodes } from "../infra/lib/errors.ts";

const readme = await Bun.file(`${import.meta.dir}/../README.md`).text();

function errorTable(): string {
  const rows = errorCodes().map(
    ({ code, status, close, retry, title }) => `| \`${code}\` | ${status} | ${close} | ${retry ? "yes" : ""} | ${title} |`,
  );
  return ["| code | HTTP | socket | retry | |", "|---|---|---|---|---|", ...rows].join("\n");
}

test("the README's table of errors is the one in the code", () => {
  const [, between = ""] = /<!-- error-table:.*?-->\n([\s\S]*?)<!-- \/error-table -->/.exec(readme) ?? [];
  expect(between.trim()).toBe(errorTable());
});

test("the README's two commands name the pinned version of Bun", async () => {
  const ci = await Bun.file(`${import.meta.dir}/../.ci/run`).text();
  expect(readme).toContain("npx -y bun@1.4.5 run dev");
  expect(readme).toContain("npx -y bun@1.4.5 run test");
  expect(ci).toContain("bun@1.4.5");
});
