/** Bodies of requests and of answers. */
import { object } from "stateful-objects";

const mebibyte = 1024 * 1024;
const chunk = new Uint8Array(64 * 1024).fill(7);

export default object("files", { limits: { bodyBytesMax: mebibyte } })
  .get("/", () => "here")
  .post("/read", async ({ request }) => String((await request.arrayBuffer()).byteLength), { parse: "none" })
  .post("/ignored", () => "ignored", { parse: "none" })
  .get("/stream/:mib", ({ params }) => {
    let left = (Number(params.mib) * mebibyte) / chunk.length;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (left-- > 0) controller.enqueue(chunk.slice());
      else controller.close();
    };
    return new Response(new ReadableStream({ pull }));
  });
