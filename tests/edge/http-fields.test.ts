import { expect, test } from "bun:test";
import {
  forwardedHeaders,
  hasBody,
  isSafeMethod,
  wantsEventStream,
  wantsWebSocket,
} from "../../infra/edge/http-fields.ts";

const asked = (headers: Record<string, string>, method = "GET") =>
  new Request("http://edge.example/room/a", { method, headers });

test("E8 fields of the connection stay behind, all others go on, whatever their name", () => {
  const headers = new Headers({
    "content-type": "text/plain",
    connection: "keep-alive, Upgrade, HTTP2-Settings , close",
    "http2-settings": "AAMAAABkAAQAAP__",
    "keep-alive": "timeout=5",
    te: "trailers",
    trailer: "x-sum",
    "transfer-encoding": "chunked",
    upgrade: "websocket",
    "proxy-authorization": "Basic x",
    "X-Stateful-Epoch": "7",
    authorization: "Bearer y",
  });
  expect(forwardedHeaders(headers)).toEqual([
    ["authorization", "Bearer y"],
    ["content-type", "text/plain"],
    ["x-stateful-epoch", "7"],
  ]);
});

test("E8 no client has what its proxy or its browser says of it taken away by calling it the connection's", () => {
  const said = {
    authorization: "Bearer y",
    cookie: "a=1",
    "fly-client-ip": "203.0.113.7",
    origin: "https://evil.example",
  };
  const more = {
    forwarded: "for=203.0.113.7",
    host: "edge.example",
    "x-forwarded-for": "203.0.113.7",
    "x-real-ip": "203.0.113.7",
    // Of a proxy whose name for it the host was told, of one that knows who somebody is, and of ours.
    "x-address-of-client": "203.0.113.7",
    "x-authenticated-user": "ann",
    "stateful-degraded": "directory",
  };
  const fields = { ...said, ...more };
  const headers = new Headers({ ...fields, connection: Object.keys(fields).join(", ") });
  expect(Object.fromEntries(forwardedHeaders(headers))).toEqual(fields);
});

test("every cookie that is set stays a field of its own", () => {
  const headers = new Headers();
  headers.append("set-cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT");
  headers.append("set-cookie", "b=2");
  expect(forwardedHeaders(headers)).toEqual([
    ["set-cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
    ["set-cookie", "b=2"],
  ]);
});

test("an upgrade is asked for with GET, in any case of letters", () => {
  expect(wantsWebSocket(asked({ upgrade: "WebSocket" }))).toBe(true);
  expect(wantsWebSocket(asked({ upgrade: "h2c" }))).toBe(false);
  expect(wantsWebSocket(asked({ upgrade: "websocket" }, "POST"))).toBe(false);
  expect(wantsWebSocket(asked({}))).toBe(false);
});

test("an event stream is asked for with GET and Accept", () => {
  expect(wantsEventStream(asked({ accept: "text/html, text/event-stream;q=0.9" }))).toBe(true);
  expect(wantsEventStream(asked({ accept: "text/event-stream" }, "POST"))).toBe(false);
  expect(wantsEventStream(asked({ accept: "*/*" }))).toBe(false);
});

test("safe methods are those of RFC 9110", () => {
  const methods = ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"];
  expect(methods.filter(isSafeMethod)).toEqual(["GET", "HEAD", "OPTIONS", "TRACE"]);
});

test("a request has a body where there is one and its method may carry it", () => {
  const post = (body?: string) => new Request("http://edge.example/", { method: "POST", body: body ?? null });
  expect(hasBody(post("x"))).toBe(true);
  expect(hasBody(post())).toBe(false);
  expect(hasBody(asked({}))).toBe(false);
});
