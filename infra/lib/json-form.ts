/** Values nested deeper than this are cut: whoever reads JSON, people and parsers alike, gives up long before. */
const depthMax = 200;

/**
 * Any value as JSON that tells a person what it is. JSON has no word for most of what an object may hold, so what it cannot
 * say is an object with the name of the type as its only member:
 *
 *     {"Map": [["a", 1]]}   {"Set": [1]}   {"Date": "2026-01-01T00:00:00.000Z"}   {"BigInt": "12"}   {"Number": "NaN"}
 *     {"Uint8Array": "AQI="} (base64)   {"Error": {"name": "TypeError", "message": "…"}}   {"RegExp": "/a/i"}
 *
 * What was met before, in a cycle or because two members are one object, is `{"Reference": "$.path[0]"}`, which also keeps
 * the answer as small as the value. It is for looking at, not for storing back: an object that really has one member called
 * "Map" looks the same.
 */
export function jsonForm(value: unknown): unknown {
  return formOf(value, "$", 0, new Map());
}

type Met = Map<object, string>;

function formOf(value: unknown, path: string, depth: number, met: Met): unknown {
  switch (typeof value) {
    case "bigint":
      return { BigInt: String(value) };
    case "number":
      return Number.isFinite(value) ? value : { Number: String(value) };
    case "function":
      return { Function: value.name };
    case "symbol":
      return { Symbol: value.description ?? "" };
    case "object":
      return value === null ? null : objectForm(value, path, depth, met);
    default:
      return value;
  }
}

function objectForm(value: object, path: string, depth: number, met: Met): unknown {
  const known = met.get(value);
  if (known !== undefined) return { Reference: known };
  if (depth >= depthMax) return { Cut: `nested deeper than ${depthMax}` };
  met.set(value, path);
  const inside = (member: unknown, step: string) => formOf(member, path + step, depth + 1, met);
  if (Array.isArray(value))
    return Array.from(value, (member: unknown, at) => inside(member, `[${at}]`) ?? null);
  if (value instanceof Map)
    return {
      Map: Array.from(value, ([k, v], at) => [
        inside(k, `.key(${at})`) ?? null,
        inside(v, `.get(${at})`) ?? null,
      ]),
    };
  if (value instanceof Set)
    return { Set: Array.from(value, (member: unknown, at) => inside(member, `[${at}]`) ?? null) };
  return builtInForm(value) ?? recordForm(value, inside);
}

/** Of what the language brings and holds nothing further; undefined for anything else. */
function builtInForm(value: object): unknown {
  if (value instanceof Date) return { Date: Number.isNaN(value.getTime()) ? "invalid" : value.toISOString() };
  if (value instanceof RegExp) return { RegExp: String(value) };
  if (value instanceof Error) return { Error: { name: value.name, message: value.message } };
  if (value instanceof ArrayBuffer) return { ArrayBuffer: new Uint8Array(value).toBase64() };
  if (!ArrayBuffer.isView(value)) return undefined;
  const { buffer, byteOffset, byteLength } = value;
  return { [value.constructor.name]: new Uint8Array(buffer, byteOffset, byteLength).toBase64() };
}

/** `fromEntries` makes a member of "__proto__" too, and none of them is a method that JSON would call. */
function recordForm(value: object, inside: (member: unknown, step: string) => unknown): unknown {
  const members = Object.entries(value).map(([name, member]) => [name, inside(member, `.${name}`)] as const);
  return Object.fromEntries(members);
}
