import { expect, test } from "bun:test";
import { ClientScript, clientScriptPath } from "../../apps/server/client-script.ts";

const address = `http://host${clientScriptPath}`;
const script = new ClientScript();

test("the client is one module, and has what is imported from it", async () => {
  const response = await script.answer(new Request(address));
  expect(response.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
  const code = await response.text();
  expect(code).not.toMatch(/\bfrom"|\bimport\s*["'(]/);
  const { connect } = await import(`data:text/javascript;base64,${Buffer.from(code).toString("base64")}`);
  expect(connect("http://localhost:1").state).toEqual({ status: "idle" });
});

test("who has it already is not sent it again", async () => {
  const entityTag = (await script.answer(new Request(address))).headers.get("etag") ?? "";
  const again = (known: string) =>
    script.answer(new Request(address, { headers: { "if-none-match": known } }));
  const same = await again(`"older", ${entityTag}`);
  expect([same.status, await same.text(), same.headers.get("etag")]).toEqual([304, "", entityTag]);
  expect((await again('"older"')).status).toBe(200);
});

test("it is there to be read only", async () => {
  expect((await script.answer(new Request(address, { method: "POST" }))).status).toBe(404);
});
