/** One event of a stream (HTML standard, section 9.2): `event` is empty for a message. */
export interface ServerSentEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** A client of server-sent events that notes everything, byte for byte. */
export class EventClient {
  readonly response: Response;
  text = "";
  isOver = false;
  readonly #leaving: AbortController;

  private constructor(response: Response, leaving: AbortController) {
    this.response = response;
    this.#leaving = leaving;
    void this.#read();
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventClient> {
    const leaving = new AbortController();
    const init = { headers: { accept: "text/event-stream", ...headers }, signal: leaving.signal };
    return new EventClient(await fetch(url, init), leaving);
  }

  /** All that have come whole, but for comments. */
  get all(): ServerSentEvent[] {
    const blocks = this.text.split("\n\n").slice(0, -1);
    return blocks.map(parsed).filter((event) => event !== undefined);
  }
  /** The data of all messages so far. */
  get events(): string[] {
    return this.all.filter(({ event }) => event === "").map(({ data }) => data);
  }
  /** What an `EventSource` would say when it comes again. */
  get lastEventId(): string | undefined {
    return this.all.findLast(({ id }) => id !== undefined)?.id;
  }
  /** What `subscribed` has said so far. */
  get starts(): { readonly position?: string; readonly recovered?: boolean }[] {
    return this.all.filter(({ event }) => event === "subscribed").map(({ data }) => JSON.parse(data));
  }

  close(): void {
    this.#leaving.abort();
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.response.body ?? [])
        this.text += decoder.decode(chunk, { stream: true });
    } catch {
      // Broken off, by either side.
    }
    this.isOver = true;
  }
}

function parsed(block: string): ServerSentEvent | undefined {
  const lines = block.split("\n");
  const valuesOf = (field: string) =>
    lines.filter((line) => line.startsWith(`${field}: `)).map((line) => line.slice(field.length + 2));
  const data = valuesOf("data");
  if (data.length === 0) return undefined;
  return { event: valuesOf("event")[0] ?? "", id: valuesOf("id")[0], data: data.join("\n") };
}
