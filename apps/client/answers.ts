/** What a call that did not go well gives as its `error`: an HTTP status, and what came with it. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly status: number;
  /** A problem document, where one of our hosts refused; the cause, with the status 503, where no answer came. */
  readonly value: unknown;

  constructor(status: number, value: unknown) {
    super(value instanceof Error ? value.message : `The answer is ${status}.`, { cause: value });
    this.status = status;
    this.value = value;
  }
}

/** What an answer holds, by its content type. Dates stay text: nobody can tell one from a text that looks like it. */
export async function answerOf(response: Response): Promise<unknown> {
  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream") && response.body) return eventsOf(response.body);
  if (type.startsWith("application/octet-stream")) return response.arrayBuffer();
  if (type.startsWith("multipart/form-data")) return Object.fromEntries(await response.formData());
  const text = await response.text();
  return /^application\/(?:[^;]+\+)?json/.test(type) && text !== "" ? JSON.parse(text) : scalarOf(text);
}

/** Numbers and truth values travel as plain text; so do texts that look like them, which nobody can tell apart. */
function scalarOf(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/** Server-sent events, each as an object of its fields; `data` is read as JSON where it is. Leaving the loop ends the request. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Record<string, unknown>> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? `${decoder.decode()}\n\n` : decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = eventOf(block);
        if (event) yield event;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel();
  }
}

function eventOf(block: string): Record<string, unknown> | undefined {
  const fields: Record<string, unknown> = {};
  for (const line of block.split(/\r?\n/)) {
    const [, name, value = ""] = /^([^:]+)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name) fields[name] = name === "data" && name in fields ? `${fields[name]}\n${value}` : value;
  }
  if ("data" in fields) fields.data = jsonOr(String(fields.data));
  return Object.keys(fields).length > 0 ? fields : undefined;
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
