/** What the client knows of a class: its name, its calls and its topics. See `author-api.ts`. */
import { type Client, connect, isProblem, type ProblemDetails } from "stateful-objects/client";
import { useObject, useTopic } from "stateful-objects/client/react";
import type counter from "../../objects/counter.ts";
import type room from "../../objects/room.ts";
import type { game } from "./author-api.ts";
import { same } from "./same.ts";

declare const client: Client;

export async function calls(): Promise<void> {
  const { call } = client.object<typeof counter>("counter", "a");
  const { data, error } = await call.get();
  same<typeof data, { count: number } | null>(true);
  if (isProblem(error?.value)) error.value satisfies ProblemDetails;
  await call.increment.post({ by: 2 }, { fetch: { signal: AbortSignal.timeout(1_000) } });
  // @ts-expect-error a wrong body: `by` is a number
  await call.increment.post({ by: "two" });
  // @ts-expect-error a wrong route
  await call.decrement.post();
  // @ts-expect-error the name of another class
  client.object<typeof counter>("game", "a");

  const final = client.object<typeof game>("game", "final");
  const team = await final.call.teams({ team: "red" }).get();
  same<NonNullable<typeof team.data>["team"], string>(true);
}

export async function topics(): Promise<void> {
  const lobby = client.object<typeof room>("room", "lobby");
  const chat = lobby.topic("chat");
  const stop = chat.subscribe((message, { position }) => {
    same<typeof message, { id: string; from: string; text: string; sentAt: string }>(true);
    same<typeof position, string | undefined>(true);
  });
  stop satisfies () => void;
  stop.on("gap", (gap) => gap.reason satisfies "lost" | "skipped" | "overflow");
  // @ts-expect-error no such event
  stop.on("gaps", () => undefined);
  for await (const message of chat) message.text satisfies string;
  const published = await chat.publish({ from: "ann", text: "hi", id: "1", sentAt: "2026-01-01T00:00:00Z" });
  published.position satisfies string | undefined;
  // @ts-expect-error a field is missing
  await chat.publish({ from: "ann" });
  // @ts-expect-error no such topic
  lobby.topic("chatt");
  // A topic without a schema may say anything.
  client
    .object<typeof counter>("counter", "a")
    .topic("count")
    .subscribe((message) => {
      same<typeof message, unknown>(true);
    });
  // A class that is not known has any name, and any topic.
  await client.object("anything", "a").topic("at all").publish({ any: "thing" });
}

export function state(): string {
  const { state } = client;
  switch (state.status) {
    case "idle":
      return "";
    case "connecting":
      return state.url;
    case "open":
      return `${state.url} ${state.host} ${state.region}`;
    case "waiting":
      return `${state.retryAt.getTime()} ${state.failures} ${state.reason}`;
    case "closed":
      return `${state.code} ${state.reason}`;
  }
}

export function sockets(): void {
  const socket = client.object("room", "lobby").socket("/live", { params: () => ({ token: "t", page: 2 }) });
  socket.addEventListener("close", ({ code, willReconnect }) => {
    same<typeof code, number>(true);
    same<typeof willReconnect, boolean>(true);
  });
  // @ts-expect-error no such event
  socket.addEventListener("closed", () => undefined);
}

export function useChat(): number {
  const lobby = useObject<typeof room>(client, "room", "lobby");
  const { messages, last, presence } = useTopic(lobby, "chat", { since: "oldest", messagesMax: 50 });
  last?.text satisfies string | undefined;
  return messages.length + (presence?.count ?? 0);
}

// The WebSocket of `ws`, a list of hosts, and headers in any form.
export async function options(): Promise<void> {
  const { WebSocket } = await import("ws");
  connect(["https://iad.example.com", "https://ams.example.com"], { WebSocket });
  connect("https://iad.example.com", { headers: async () => ({ authorization: "Bearer t" }) });
  connect("https://iad.example.com", { headers: [["authorization", "Bearer t"]], maxRetries: 3 });
  // @ts-expect-error it must be a number
  connect("https://iad.example.com", { maxRetries: "three" });
}
