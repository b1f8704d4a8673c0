import { serializeCookie } from "elysia";
import type { HttpContext } from "./http-context.ts";

/** The headers that hooks and handlers have set on a context, cookies included; undefined where there are none. */
export function responseHeaders(context: HttpContext): Headers | undefined {
  const entries = Object.entries(context.set.headers);
  const cookies = cookieHeaders(context);
  if (entries.length === 0 && cookies.length === 0) return undefined;
  const headers = new Headers();
  for (const [name, value] of entries) {
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, String(item));
  }
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return headers;
}

function cookieHeaders(context: HttpContext): string[] {
  const { cookie } = context.set as { cookie?: Parameters<typeof serializeCookie>[0] }; // Elysia's internal property
  const serialized = cookie === undefined ? undefined : serializeCookie(cookie);
  return serialized === undefined ? [] : [serialized].flat();
}
