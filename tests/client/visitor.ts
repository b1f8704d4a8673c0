/**
 * Runs under Deno and under Node, started by `runtimes.test.ts`: uses the client against the host whose URL is its argument, and
 * prints what came of it, as JSON. Node has no WebSocket of its own before version 22; with a second argument `ws` it takes that
 * of the package.
 */
import { connect } from "../../apps/client/index.ts";

const scope = globalThis as unknown as { process?: { argv: string[] }; Deno?: { args: string[] } }; // whichever it is
const [url = "", kind] = scope.Deno?.args ?? scope.process?.argv.slice(2) ?? [];
const options = { minReconnectionDelay: 20, headers: { authorization: "Bearer visitor" } };
const WebSocket = kind === "ws" ? (await import("ws")).WebSocket : undefined;
const client = connect(url, WebSocket ? { ...options, WebSocket } : options);
const lobby = client.object("room", "lobby");
const chat = lobby.topic("chat");

const notes: unknown[] = [];
try {
  const subscription = chat.subscribe((message) => notes.push(message));
  subscription.on("subscribed", ({ recovered }) => notes.push(`subscribed ${recovered}`));
  const messages = chat.messages();
  await chat.publish({ from: "ann" });
  notes.push((await messages.next()).value);
  // The class is not known here, and so is what it answers.
  const call = lobby.call as unknown as {
    drop: { post(body: object): Promise<{ data: unknown; status: number }> };
  };
  const { data, status } = await call.drop.post({ code: 1012 });
  notes.push({ data, status });
  await new Promise<void>((resolve) => subscription.on("subscribed", () => resolve()));
  await chat.publish(new Uint8Array([1, 2, 3]));
  const { value } = await messages.next();
  notes.push([...(value as Uint8Array)]); // published above
  await messages.return();
} catch (error) {
  notes.push(error instanceof Error ? error.message : error);
}
client.close();
console.log(JSON.stringify(notes));
