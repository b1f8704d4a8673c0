import type { HostProcess } from "../../support/host-process.ts";
import type { Notebook } from "./notebook.ts";
import type { Dialled } from "./roaming-client.ts";

interface Event {
  readonly name: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Server-sent events, as an `EventSource` takes them: it comes again with the last id that it was given. */
export function dialEvents(host: HostProcess, notes: Notebook): Dialled {
  const leaving = new AbortController();
  const edge = host.id;
  const since = notes.position;
  let code = 1006;

  const take = ({ name, id, data }: Event): void => {
    if (name === "subscribed") {
      const { position, recovered } = JSON.parse(data);
      // The first answers the request; another one tells of a gap.
      notes.subscribed(notes.isOpen ? undefined : since, id ?? position, recovered);
    } else if (name === "presence") notes.presence(JSON.parse(data));
    else if (name === "close") code = JSON.parse(data).code;
    else if (name === "") notes.heard(data, id);
  };

  const listen = async (): Promise<void> => {
    const headers = { accept: "text/event-stream", ...(since !== undefined && { "last-event-id": since }) };
    const url = host.url(`/${notes.address}?presence=1&name=${notes.listener}`);
    const response = await fetch(url, { headers, signal: leaving.signal });
    if (response.status !== 200) return;
    for await (const event of eventsOf(response)) if (!leaving.signal.aborted) take(event);
  };

  const end = () => {
    if (!leaving.signal.aborted) notes.ended({ edge, code });
  };
  return {
    ended: listen().then(end, end), // A stream that breaks off has ended like any other.
    leave() {
      leaving.abort();
      notes.ended();
    },
  };
}

/** Those that have come whole (HTML standard, section 9.2.6). */
async function* eventsOf(response: Response): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body ?? []) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n");
      const valuesOf = (field: string) =>
        lines.filter((line) => line.startsWith(`${field}: `)).map((line) => line.slice(field.length + 2));
      const data = valuesOf("data");
      if (data.length > 0)
        yield { name: valuesOf("event")[0] ?? "", id: valuesOf("id")[0], data: data.join("\n") };
    }
  }
}
