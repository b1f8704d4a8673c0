import { expect, test } from "bun:test";
import { limitBody } from "../../infra/edge/body-limit.ts";

const url = "http://edge.example/echo/a";

function chunked(...chunks: string[]): Request {
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(chunk));
    },
  });
  return new Request(url, { method: "POST", body, duplex: "half" } as RequestInit); // duplex: Fetch standard
}

function declared(bytes: string, body = "x"): Request {
  return new Request(url, { method: "POST", body, headers: { "content-length": bytes } });
}

/** The request, where it was let through. */
function passed(request: Request, bytesMax: number): Request {
  const limited = limitBody(request, bytesMax);
  if (limited instanceof Response) throw new Error(`refused with ${limited.status}`);
  return limited;
}

test("a body that is declared over the limit is refused unread, with 413", async () => {
  const request = declared("11");
  const answer = limitBody(request, 10);
  if (!(answer instanceof Response)) throw new Error("It was let through.");
  expect(answer.status).toBe(413);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(await answer.json()).toMatchObject({ code: "body_too_large", retryable: false });
  expect(request.bodyUsed).toBe(false);
});

test("a body within the limit is the request itself, not a copy", () => {
  const request = declared("10");
  expect(limitBody(request, 10)).toBe(request);
  const empty = new Request(url, { method: "DELETE" });
  expect(limitBody(empty, 10)).toBe(empty);
});

test("a body of unknown length passes whole up to the limit, to the byte", async () => {
  expect(await passed(chunked("12345", "67890"), 10).text()).toBe("1234567890");
  expect(await passed(chunked(), 10).text()).toBe("");
});

test("a body of unknown length breaks off one byte over the limit, and its source is told", async () => {
  const limited = passed(chunked("12345", "67890", "!"), 10);
  await expect(limited.text()).rejects.toMatchObject({ code: "body_too_large" });
});

test("the limited request keeps method, headers and signal", () => {
  const client = new AbortController();
  const request = new Request(chunked("x"), { headers: { "x-kept": "yes" }, signal: client.signal });
  const limited = passed(request, 10);
  expect([limited.method, limited.headers.get("x-kept"), limited.url]).toEqual(["POST", "yes", url]);
  client.abort();
  expect(limited.signal.aborted).toBe(true);
});

test("methods without a body are left alone, whatever they declare", () => {
  const request = new Request(url, { headers: { "content-length": "1000" } });
  expect(limitBody(request, 10)).toBe(request);
});
