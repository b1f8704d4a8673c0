/**
 * The client for browsers, Node, Deno and Bun: typed calls to objects, their topics, and sockets that come back. Web standards
 * only; of the server's code it takes types and nothing else.
 */
import { Client } from "./client.ts";
import type { ConnectOptions } from "./options.ts";
import { systemSurroundings } from "./surroundings.ts";

export type { ProblemDetails } from "../../infra/object/index.ts";
export type { CallError } from "./answers.ts";
export type { Client, ClientEvents, NameOf, RemoteObject } from "./client.ts";
export { ClientError, type ClientErrorCode, type Closing, isProblem, type Problem } from "./errors.ts";
export type { Published } from "./feed.ts";
export type { IterationOptions, MessageIterator } from "./iteration.ts";
export type { ConnectionState } from "./kept-connection.ts";
export type { ConnectOptions, HeadersSource, ReconnectOptions, WebSocketConstructor } from "./options.ts";
export type { Member, Presence } from "./presence.ts";
export {
  type Params,
  type ReconnectingSocket,
  SocketCloseEvent,
  type SocketEventMap,
  type SocketOptions,
} from "./reconnecting-socket.ts";
export type {
  Gap,
  MessageInfo,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
} from "./subscription.ts";
export type { Topic } from "./topic.ts";
export type { TopicsOf } from "./topics-of.ts";

/**
 * A client of these hosts.
 *
 * @param urls `https://…` of each region's hosts, the nearest first. The next is used while the one before cannot be reached.
 * @throws ClientError `bad_argument` naming the URL or the option that is wrong.
 *
 * ```ts
 * const client = connect(["https://iad.example.com", "https://ams.example.com"], {
 *   headers: async () => ({ authorization: `Bearer ${await token()}` }),
 * });
 * const lobby = client.object<typeof room>("room", "lobby");
 * const { data, error } = await lobby.call.messages.post({ from: "ann", text: "hi" });
 * const stop = lobby.topic("chat").subscribe((message) => show(message));
 * ```
 */
export function connect(urls: string | readonly string[], options: ConnectOptions = {}): Client {
  return new Client(urls, options, systemSurroundings);
}
