/** What stands behind the `?`, of values that a URL has a way to say. `""` where there are none. */
export function queryOf(fields: Readonly<Record<string, unknown>> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const item of [value].flat())
      if (item !== undefined && item !== null) query.append(name, textOf(item));
  }
  return query.toString();
}

/** As Eden says it. */
export function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
