import { StatefulError } from "../lib/errors.ts";
import { SubscribeEvent } from "./handles.ts";
import { eventOfContext, type HttpContext } from "./http-context.ts";
import { EncodedBody, messageBody } from "./message-body.ts";
import type { AnyObjectClass } from "./object.ts";
import type { RawSocket } from "./object-socket.ts";
import type { ClassDefinition } from "./options.ts";
import type { SocketData } from "./socket-message.ts";
import type { SocketBehaviour } from "./socket-route.ts";
import type { TopicDefinition } from "./topic-options.ts";
import { clientMessage } from "./topic-payload.ts";
import type { TopicSchema } from "./topic-schema.ts";
import { publishDone, publishedValue, publishFailure, saidOn } from "./subscription-message.ts";

/**
 * `/<class>/<id>/-/topics/<topic>`: a declared topic that is open needs no handler. These are routes of the class like
 * any other, so the class's own hooks stand before them. A WebSocket or an event stream is decided by the edge; a POST is
 * a request like any other.
 */
export function addTopicRoutes(app: AnyObjectClass, definition: ClassDefinition): void {
  if (definition.topics.size === 0) return;
  const behaviours = new Map(
    [...definition.topics].map(([topic, options]) => [topic, topicBehaviour(topic, options)]),
  );
  const subscribe = async (context: TopicContext) => {
    await openTopic(definition, context);
    const behaviour = behaviours.get(context.params.topic);
    const event = context[eventOfContext];
    if (behaviour === undefined || event.upgrade === undefined) {
      throw new StatefulError("upgrade_required", "Ask with a WebSocket, or with Accept: text/event-stream.");
    }
    event.upgrade.accepted = { headers: undefined, behaviour, data: context };
    return new Response(null); // Discarded: the edge answers.
  };
  const publish = async (context: TopicContext) => {
    definition.origins?.check(context.request);
    const { publish, schema } = await openTopic(definition, context);
    if (publish !== "clients") throw serverOnly();
    const position = context.topics.publish(context.params.topic, postedMessage(schema, context.body));
    context.set.status = 202;
    return position === undefined ? {} : { position };
  };
  const parse = messageBody(definition.limits.messageBytesMax);
  // The routes run on HttpContext, which Elysia's types do not know.
  const [subscribing, publishing, parsing] = [subscribe as never, publish as never, parse as never];
  app.route("WS", "/-/topics/:topic", subscribing);
  app.get("/-/topics/:topic", subscribing);
  app.post("/-/topics/:topic", publishing, { parse: parsing });
}

type TopicContext = HttpContext & { readonly params: { readonly topic: string }; readonly body: unknown };

/** The topic that is asked for, where whoever asks may come in. */
async function openTopic({ name, topics }: ClassDefinition, context: TopicContext): Promise<TopicDefinition> {
  const { topic } = context.params;
  const options = topics.get(topic);
  if (options !== undefined && (await maySubscribe(options, context, topic))) return options;
  throw new StatefulError(
    "topic_closed",
    `The topic "${topic.slice(0, 80)}" of ${name} is not open. Declare it with subscribe: "anyone" or a function.`,
  );
}

/** Where the client has come to: what an EventSource says when it comes again goes before what its URL says. */
function sinceOf(request: Request): string | undefined {
  const position = request.headers.get("last-event-id") ?? new URL(request.url).searchParams.get("since");
  return position || undefined;
}

async function maySubscribe(
  { subscribe }: TopicDefinition,
  context: HttpContext,
  topic: string,
): Promise<boolean> {
  if (typeof subscribe === "string") return subscribe === "anyone";
  return subscribe(new SubscribeEvent(context[eventOfContext].object, context.request, topic));
}

/** As a handler would publish it. A body that a parser of the author's has taken first is what that made of it. */
function postedMessage(schema: TopicSchema | undefined, body: unknown): unknown {
  if (body instanceof EncodedBody) return clientMessage(schema, body.data);
  return schema === undefined ? body : schema.received(body);
}

function topicBehaviour(topic: string, { publish, schema, presence }: TopicDefinition): SocketBehaviour {
  /** For a client that speaks frames: it is told what became of it, and goes on. */
  const publishSaid = (socket: RawSocket, message: SocketData) => {
    const { payload, ref } = saidOn(message);
    let position: string | undefined;
    try {
      if (publish !== "clients") throw serverOnly();
      const { topics } = socket.data as HttpContext; // set above, by `subscribe`
      position = topics.publish(topic, publishedValue(schema, payload));
    } catch (thrown) {
      if (!(thrown instanceof StatefulError)) throw thrown;
      socket.tell(publishFailure(thrown, ref));
      return;
    }
    // It stands behind the message in the line of what leaves.
    if (ref !== undefined) socket.tell(publishDone(ref, position));
  };
  return {
    open: (socket: RawSocket) => {
      const { request } = socket.data as HttpContext; // set above, by `subscribe`
      const watches = new URL(request.url).searchParams.get("presence") === "1";
      socket.listen(topic, sinceOf(request), watches && presence !== undefined);
    },
    message(socket: RawSocket, data: SocketData) {
      const { topics } = socket.data as HttpContext; // set above, by `subscribe`
      // Everyone hears it, the sender included: that is how a sender learns where in the order its message stands.
      if (socket.kind === "subscription") return publishSaid(socket, data);
      if (publish === "clients") return void topics.publish(topic, clientMessage(schema, data));
      const error = serverOnly();
      socket.close(error.closeCode, error.message);
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
