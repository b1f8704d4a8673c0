import { afterAll, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ClassFileError, classFiles, loadClass, loadClasses } from "../../infra/host/class-folder.ts";

// Below this file, so that the classes find Elysia and us where any class of the project does.
const folders = await mkdtemp(join(import.meta.dir, ".classes-"));
afterAll(() => rm(folders, { recursive: true }));

let count = 0;
async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = join(folders, `${count++}`);
  await mkdir(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

const classNamed = (name: string) => `
  import { object } from "stateful-objects";
  export default object("${name}").get("/", () => "${name}");`;

async function mistakeIn(files: Readonly<Record<string, string>>): Promise<string> {
  const loading = loadClasses(await folderWith(files));
  const mistake = await loading.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(mistake).toBeInstanceOf(ClassFileError);
  return mistake.message;
}

test("every file of the folder is a class, but for those that begin with _ or . and tests", async () => {
  const folder = await folderWith({
    "room.ts": classNamed("room"),
    "counter.js": classNamed("counter"),
    "_shared.ts": "export const shared = 1;",
    ".hidden.ts": "",
    "room.test.ts": "",
    "types.d.ts": "",
    "README.md": "",
  });
  expect(await classFiles(folder)).toEqual(["counter.js", "room.ts"]);
  const loaded = await loadClasses(folder);
  expect(loaded.map(({ name, file }) => [name, file])).toEqual([
    ["counter", "counter.js"],
    ["room", "room.ts"],
  ]);
});

test("two files with one name: the error names both and says what to do", async () => {
  const message = await mistakeIn({ "a.ts": classNamed("room"), "b.ts": classNamed("room") });
  expect(message).toContain("a.ts");
  expect(message).toContain("b.ts");
  expect(message).toContain('object("another-name"');
});

test("a bad name: the error names the file, the name and the rule", async () => {
  const message = await mistakeIn({ "room.ts": classNamed("Chat_Room") });
  expect(message).toContain("room.ts");
  expect(message).toContain("Chat_Room");
  expect(message).toContain("lower-case letters");
});

test("a file without a default export: the error says what to write", async () => {
  const message = await mistakeIn({ "room.ts": "export const room = 1;" });
  expect(message).toContain("room.ts has no default export");
  expect(message).toContain('export default object("room"');
});

test("a default export that is no class, a plain Elysia app for example", async () => {
  const message = await mistakeIn({
    "room.ts": `import { Elysia } from "elysia"; export default new Elysia().get("/", () => "hi");`,
  });
  expect(message).toContain("room.ts exports something else");
});

test("a file that cannot be loaded: the error names it and the cause", async () => {
  expect(await mistakeIn({ "room.ts": `throw new Error("no such thing");` })).toContain(
    "room.ts cannot be loaded: no such thing",
  );
  expect(await mistakeIn({ "bag.ts": `import "./missing.ts";` })).toContain("bag.ts cannot be loaded");
  expect(await mistakeIn({ "box.ts": "export default object(" })).toContain("box.ts cannot be loaded");
});

test("a folder that is not there: the error names it", async () => {
  await expect(loadClasses(join(folders, "nowhere"))).rejects.toThrow("nowhere cannot be read");
});

test("a changed file is read anew under a new version", async () => {
  const folder = await folderWith({ "box.ts": classNamed("before") });
  expect((await loadClass(folder, "box.ts", "")).name).toBe("before");
  await writeFile(join(folder, "box.ts"), classNamed("after"));
  expect((await loadClass(folder, "box.ts", "2")).name).toBe("after");
});
