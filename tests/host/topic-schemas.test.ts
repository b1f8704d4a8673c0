import { describe, expect, test } from "bun:test";
import { Elysia, t } from "elysia";
import { object, topic } from "stateful-objects";
import { connectTo, FakeCarrier, FakeEdge, ObjectHost } from "./object-host.ts";

/** Sockets as Elysia makes them: what they publish has been encoded before it is ours. */
const plugin = new Elysia().ws("/plain", {
  open: (ws) => void ws.subscribe("chat"),
  message: (ws, message) => void ws.publish("chat", message),
});

const room = object("room", {
  topics: {
    chat: topic({
      schema: t.Object({ text: t.String({ maxLength: 5 }) }),
      publish: "clients",
      subscribe: "anyone",
    }),
    word: { schema: t.String() },
  },
})
  .ws("/live", {
    open: (ws) => void ws.subscribe("chat"),
    message: (ws, message) => void ws.publish("chat", message),
  })
  .ws("/word", { body: t.String(), message: (ws, text) => void ws.publish("word", text) })
  .ws("/encoded", {
    body: t.String(),
    message: (ws, text) =>
      void (text === "bytes" ? ws.publishBinary("chat", new Uint8Array(1)) : ws.publishText("chat", text)),
  })
  .use(plugin);

/** A room with a listener elsewhere, and a client that speaks. */
async function conversation(path: string) {
  const activation = await new ObjectHost(room).live("room");
  const far = new FakeEdge();
  await connectTo(activation, new FakeCarrier(far));
  const heard = () => far.frames.map(({ message }) => message);
  return { activation, heard, ...(await connectTo(activation, new FakeCarrier(), path)) };
}

const mismatch = {
  code: 1007,
  reason: 'The topic "chat" does not take this message at /text: Expected string length less or equal to 5.',
};

describe.each(["/live", "/plain", "/encoded", "/-/topics/chat"])("O6 what a client says on %s", (path) => {
  test("is published as JSON where it matches", async () => {
    const { socket, carrier, heard } = await conversation(path);
    await socket.received('{ "text": "hello" }');
    expect(heard()).toEqual(['{"text":"hello"}']);
    expect(carrier.closed).toBeUndefined();
  });

  test("is heard by nobody where it does not, and closes the socket with 1007", async () => {
    const { socket, carrier, heard } = await conversation(path);
    await socket.received('{"text":"hello you"}');
    expect(heard()).toEqual([]);
    // A plugin's handlers run inside Elysia, which keeps what they throw for hooks of its own.
    if (path !== "/plain") expect(carrier.closed).toEqual(mismatch);
  });
});

test("O6 bytes are no message of a topic with a schema", async () => {
  const { socket, carrier, heard } = await conversation("/encoded");
  await socket.received("bytes");
  expect(heard()).toEqual([]);
  expect(carrier.closed?.code).toBe(1007);
});

test("O6 a text of a topic whose schema is a text is JSON for who hears it", async () => {
  const { activation, socket } = await conversation("/word");
  const near = new FakeCarrier();
  (await connectTo(activation, near)).socket.subscribe("word");
  await socket.received("hello");
  activation.topics.publish("word", "again");
  expect(near.edge.frames.map(({ message }) => message)).toEqual(['"hello"', '"again"']);
});

test("O6 a handler that publishes what does not match is told, and goes on", async () => {
  const { activation, heard } = await conversation("/live");
  expect(() => activation.topics.publish("chat", { text: 7 })).toThrow(
    expect.objectContaining({ code: "invalid_input" }),
  );
  activation.topics.publish("chat", { text: "7" });
  activation.topics.publish("undeclared", { text: 7 });
  expect(heard()).toEqual(['{"text":"7"}']);
});
