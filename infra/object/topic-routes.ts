import { StatefulError } from "../lib/errors.ts";
import { SubscribeEvent } from "./handles.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import type { AnyObjectClass } from "./object.ts";
import type { RawSocket } from "./object-socket.ts";
import type { ClassDefinition, ErasedTopicOptions } from "./options.ts";
import type { SocketData } from "./socket-message.ts";
import type { SocketBehaviour } from "./socket-route.ts";
import { publishedValue, publishFailure } from "./subscription-message.ts";

/**
 * `/<class>/<id>/-/topics/<topic>`: a declared topic that is open needs no handler. These are routes of the class like
 * any other, so the class's own hooks stand before them. A WebSocket or an event stream is decided by the edge.
 */
export function addTopicRoutes(app: AnyObjectClass, definition: ClassDefinition): void {
  if (definition.topics.size === 0) return;
  const behaviours = new Map(
    [...definition.topics].map(([topic, options]) => [topic, topicBehaviour(topic, options)]),
  );
  const subscribe = async (context: HttpContext & { params: { topic: string } }) => {
    const { topic } = context.params;
    const options = definition.topics.get(topic);
    const behaviour = behaviours.get(topic);
    const event = context[eventOfContext];
    if (!options || !behaviour || !(await maySubscribe(options, context, topic))) {
      throw new StatefulError(
        "topic_closed",
        `The topic "${topic.slice(0, 80)}" of ${definition.name} is not open. Declare it with subscribe: "anyone" or a function.`,
      );
    }
    if (event.upgrade === undefined) {
      throw new StatefulError("upgrade_required", "Ask with a WebSocket, or with Accept: text/event-stream.");
    }
    event.upgrade.accepted = { headers: undefined, behaviour, data: context };
    return new Response(null); // Discarded: the edge answers.
  };
  // Both routes run on HttpContext, which Elysia's types do not know.
  const handler = subscribe as never;
  app.route("WS", "/-/topics/:topic", handler);
  app.get("/-/topics/:topic", handler);
}

/** Where the client has come to: what an EventSource says when it comes again goes before what its URL says. */
function sinceOf(request: Request): string | undefined {
  const position = request.headers.get("last-event-id") ?? new URL(request.url).searchParams.get("since");
  return position || undefined;
}

async function maySubscribe(
  options: ErasedTopicOptions,
  context: HttpContext,
  topic: string,
): Promise<boolean> {
  const { subscribe = "handlers" } = options;
  if (typeof subscribe === "string") return subscribe === "anyone";
  return subscribe(new SubscribeEvent(context[eventOfContext].object, context.request, topic));
}

function topicBehaviour(topic: string, options: ErasedTopicOptions): SocketBehaviour {
  return {
    open: (socket: RawSocket) => {
      const { request } = socket.data as HttpContext; // set below, by `subscribe`
      socket.listen(topic, sinceOf(request));
    },
    message(socket: RawSocket, data: SocketData) {
      if (options.publish !== "clients") return refuse(socket, serverOnly());
      const { topics } = socket.data as HttpContext; // set above, by `subscribe`
      // Everyone hears it, the sender included: that is how a sender learns where in the order its message stands.
      if (socket.kind !== "subscription") return void topics.publish(topic, data);
      try {
        topics.publish(topic, publishedValue(data));
      } catch (thrown) {
        if (!(thrown instanceof StatefulError)) throw thrown;
        refuse(socket, thrown);
      }
    },
    drain() {
      // Nothing is waiting here: a subscriber only listens.
    },
    close() {
      // The machinery ends the subscriptions of a socket that closes.
    },
  };
}

function serverOnly(): StatefulError {
  return new StatefulError("topic_closed", "This topic is published by the server only.");
}

/** A message is not taken. A client that speaks frames is told, and goes on; for others there is nothing to tell it with. */
function refuse(socket: RawSocket, error: StatefulError): void {
  if (socket.kind === "subscription") socket.send(publishFailure(error));
  else socket.close(error.closeCode, error.message);
}
