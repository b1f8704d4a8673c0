import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failureReport } from "../../apps/dev/failure-report.ts";
import { portableFields } from "../../apps/dev/portable-fields.ts";
import { loadClass } from "../../infra/host/class-folder.ts";

async function reportOfFile(code: string) {
  const folder = await mkdtemp(join(tmpdir(), "report-"));
  try {
    await writeFile(join(folder, "wrong.ts"), code);
    await loadClass(folder, "wrong.ts", "");
  } catch (error) {
    return failureReport(error, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
  throw new Error("the file was accepted");
}

test("a file that does not compile: each mistake with its place, the line and a caret", async () => {
  const { message, details } = await reportOfFile("const a = 1;\nexport default object(;\n");
  expect(message).toBe("wrong.ts cannot be loaded.");
  expect(details[0]).toStartWith("wrong.ts:2:23  ");
  expect(details[1]).toBe("  export default object(;");
  expect(details[2]?.indexOf("^")).toBe(details[1]?.indexOf(";") ?? -2);
});

test("a file that throws when it is loaded: the error, and where", async () => {
  const { message, details } = await reportOfFile('const a = 1;\nthrow new RangeError("too much");\n');
  expect(message).toBe("wrong.ts cannot be loaded: too much");
  expect(details.join("\n")).toContain("wrong.ts:2:");
});

test("a file without a class: what to write, and no stack", async () => {
  const { message, details } = await reportOfFile("export const a = 1;\n");
  expect(message).toContain('Write: export default object("wrong"');
  expect(details).toEqual([]);
});

test("frames of ours, of packages and of the runtime are left out", () => {
  const error = new TypeError("no");
  error.stack = [
    "TypeError: no",
    "    at say (/p/objects/room.ts?v=3:7:53)",
    "    at run (/p/infra/host/activation.ts:1:1)",
    "    at handle (/p/node_modules/elysia/dist/index.js:1:1)",
    "    at processTicksAndRejections (native:7:39)",
  ].join("\n");
  expect(failureReport(error, "/p")).toEqual({
    message: "TypeError: no",
    details: ["at say (objects/room.ts:7:53)"],
  });
});

test("fields of a log entry survive JSON: errors at any depth, maps, big integers, circles", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const fields = {
    error: new Error("no"),
    deep: { error: new Error("inner") },
    map: new Map([["a", 1n]]),
    circle,
  };
  const portable = portableFields(fields, "/p");
  expect(JSON.parse(JSON.stringify(portable))).toMatchObject({
    error: { message: "no" },
    deep: { error: { message: "inner" } },
    map: { a: "1" },
  });
  expect(portable.circle).toBeString();
});
