import { expect, spyOn, test } from "bun:test";
import { Elysia, t } from "elysia";
import { object, StatefulError } from "stateful-objects";
import { encodeSocketMessage, parseSocketText } from "../../infra/object/socket-message.ts";
import { FakeHost } from "./fake-scope.ts";

// -- the upgrade

test("an accepted upgrade carries the headers and cookies that hooks and the upgrade option set", async () => {
  const host = new FakeHost(
    object("box")
      .onBeforeHandle(({ set, cookie }) => {
        set.headers["x-hook"] = "1";
        cookie.seen?.set({ value: "yes" });
      })
      .ws("/live", { upgrade: { "x-option": "2" }, message: () => undefined })
      .ws("/asks", {
        upgrade: ({ set, query }) => {
          set.headers["x-name"] = query.name ?? "";
        },
        message: () => undefined,
      }),
  );
  const { slot } = await host.upgrade("/live");
  const headers = slot.accepted?.headers;
  expect([headers?.get("x-hook"), headers?.get("x-option")]).toEqual(["1", "2"]);
  expect(headers?.get("set-cookie")).toContain("seen=yes");
  const asks = await host.upgrade("/asks?name=ada");
  expect(asks.slot.accepted?.headers?.get("x-name")).toBe("ada");
});

test("an upgrade without headers of its own has none", async () => {
  const host = new FakeHost(object("box").ws("/live", { message: () => undefined }));
  expect((await host.upgrade("/live")).slot.accepted?.headers).toBeUndefined();
});

test("O4 beforeHandle of a socket runs exactly once, and its 401 is a 401", async () => {
  let runs = 0;
  const host = new FakeHost(
    object("box").ws("/live", {
      beforeHandle({ headers, status }) {
        runs++;
        return headers["x-key"] === "open" ? undefined : status(401, "no key");
      },
      message: () => undefined,
    }),
  );
  const refused = await host.upgrade("/live");
  expect(refused.slot.accepted).toBeUndefined();
  expect([refused.response.status, await refused.response.text()]).toEqual([401, "no key"]);
  expect(runs).toBe(1);
  expect((await host.upgrade("/live", { "x-key": "open" })).slot.accepted).toBeDefined();
  expect(runs).toBe(2);
});

test("O4 hooks of the class, resolve among them, run before the upgrade and once", async () => {
  const steps: string[] = [];
  const host = new FakeHost(
    object("box")
      .derive(() => void steps.push("derive"))
      .onBeforeHandle(() => void steps.push("beforeHandle"))
      .resolve(() => {
        steps.push("resolve");
        return { user: "ada" };
      })
      .ws("/live", {
        open(ws) {
          ws.send(ws.data.user);
        },
      }),
  );
  const socket = await host.connect("/live");
  expect(steps).toEqual(["derive", "beforeHandle", "resolve"]);
  expect(socket.sent).toEqual(["ada"]);
});

test("query and params of a socket are validated before the upgrade", async () => {
  const host = new FakeHost(
    object("box").ws("/live/:seat", {
      params: t.Object({ id: t.String(), seat: t.Number() }),
      query: t.Object({ name: t.String() }),
      open(ws) {
        ws.send({ seat: ws.data.params.seat, name: ws.data.query.name });
      },
    }),
  );
  expect((await host.upgrade("/live/x?name=ada")).response.status).toBe(422);
  expect((await host.upgrade("/live/7")).response.status).toBe(422);
  expect((await host.connect("/live/7?name=ada")).sent).toEqual(['{"seat":7,"name":"ada"}']);
});

test("a hook that throws answers the upgrade with its problem", async () => {
  const host = new FakeHost(
    object("box").ws("/live", {
      beforeHandle() {
        throw new StatefulError("forbidden", "not you");
      },
      message: () => undefined,
    }),
  );
  const { slot, response } = await host.upgrade("/live");
  expect(slot.accepted).toBeUndefined();
  expect(response.status).toBe(403);
});

test("the handles on ws.data are the object's", async () => {
  const host = new FakeHost(
    object("box", { state: () => ({ count: 4 }) }).ws("/live", {
      open(ws) {
        ws.data.state.count++;
        ws.data.topics.publish("count", ws.data.state.count);
        ws.send(ws.data.objectId);
      },
    }),
    { id: "x" },
  );
  const socket = await host.connect("/live");
  expect(socket.sent).toEqual(["x"]);
  expect(host.scope.published).toEqual([{ topic: "count", message: 5 }]);
});

test("a serial class enters the gate for an upgrade too", async () => {
  const host = new FakeHost(
    object("box", { concurrency: "serial" }).ws("/live", { message: () => undefined }),
  );
  await host.upgrade("/live");
  expect(host.scope.entered).toHaveLength(1);
});

// -- messages

const heard = (schema?: { body: ReturnType<typeof t.String> }) => {
  const messages: unknown[] = [];
  const host = new FakeHost(
    object("box").ws("/live", {
      ...schema,
      message(_ws, message) {
        messages.push(message);
      },
    }),
  );
  return { messages, host };
};

test.each<[string, unknown]>([
  ["007", "007"],
  ["7", 7],
  ["-1.5e3", -1500],
  ["+7", "+7"],
  ["1_000", "1_000"],
  ["", ""],
  [" 7", " 7"],
  ["true", true],
  ["null", null],
  ["NaN", "NaN"],
  ["hello", "hello"],
  ['"quoted"', "quoted"],
  ['{"a":1}', { a: 1 }],
  ["[1,2]", [1, 2]],
  ["{broken", "{broken"],
])("O5 the text %p is heard as %p", async (text, value) => {
  const { messages, host } = heard();
  await (await host.connect("/live")).receive(text);
  expect(messages).toEqual([value]);
  expect(parseSocketText(text)).toEqual(value);
});

test.each(["007", "7", "true", "null", '{"a":1}', '"quoted"'])(
  "O5 with body: t.String() %p stays text",
  async (text) => {
    const { messages, host } = heard({ body: t.String() });
    await (await host.connect("/live")).receive(text);
    expect(messages).toEqual([text]);
  },
);

test("O5 text stays text too where the schema is a named model", async () => {
  const messages: string[] = [];
  const host = new FakeHost(
    object("box")
      .model({ line: t.String() })
      .ws("/live", {
        body: "line",
        message(_ws, message) {
          messages.push(message);
        },
      }),
  );
  await (await host.connect("/live")).receive("7");
  expect(messages).toEqual(["7"]);
});

test("bytes stay bytes", async () => {
  const { messages, host } = heard();
  await (await host.connect("/live")).receive(new Uint8Array([1, 2]));
  expect(messages).toEqual([new Uint8Array([1, 2])]);
});

test("a message that does not match the schema is told so and reaches no handler", async () => {
  const heard: unknown[] = [];
  const host = new FakeHost(
    object("box").ws("/live", {
      body: t.Object({ by: t.Number() }),
      message(_ws, { by }) {
        heard.push(by);
      },
    }),
  );
  const socket = await host.connect("/live");
  await socket.receive('{"by":"two"}');
  expect(heard).toEqual([]);
  expect(JSON.parse(String(socket.sent[0]))).toMatchObject({
    type: "validation",
    on: "message",
    property: "/by",
  });
  await socket.receive('{"by":2}');
  expect(heard).toEqual([2]);
  expect(socket.closed).toBeUndefined();
});

test("a parser of the author's comes after ours and may replace the message", async () => {
  const heard: unknown[] = [];
  const host = new FakeHost(
    object("box").ws("/live", {
      parse: [() => undefined, (_ws, message) => (message === "ping" ? { ping: true } : undefined)],
      message(_ws, message) {
        heard.push(message);
      },
    }),
  );
  const socket = await host.connect("/live");
  await socket.receive("ping");
  await socket.receive("7");
  expect(heard).toEqual([{ ping: true }, 7]);
});

// -- what handlers return

test("what a handler returns is sent", async () => {
  const host = new FakeHost(
    object("box").ws("/live", {
      message(_ws, message): unknown {
        return message === "nothing" ? undefined : { echo: message };
      },
    }),
  );
  const socket = await host.connect("/live");
  await socket.receive("hi");
  await socket.receive("nothing");
  expect(socket.sent).toEqual(['{"echo":"hi"}']);
});

test("what an async handler resolves to, and what generators yield, is sent in order", async () => {
  const host = new FakeHost(
    object("box").ws("/live", {
      open: async () => "hello",
      message: async function* (_ws, message) {
        yield `${message} 1`;
        yield undefined;
        yield `${message} 2`;
      },
      close: function* () {
        yield "bye";
      },
    }),
  );
  const socket = await host.connect("/live");
  await socket.receive("tick");
  await socket.disconnect(1000, "");
  expect(socket.sent).toEqual(["hello", "tick 1", "tick 2", "bye"]);
});

test("a synchronous handler is done when the message was delivered: it costs no promise", async () => {
  const { messages, host } = heard();
  const socket = await host.connect("/live");
  expect(socket.behaviour.message(socket, "now")).toBeUndefined();
  expect(messages).toEqual(["now"]);
});

test("open, drain and close run with the code and the reason", async () => {
  const steps: unknown[] = [];
  const host = new FakeHost(
    object("box").ws("/live", {
      open: () => void steps.push("open"),
      drain: () => void steps.push("drain"),
      close: (_ws, code, reason) => void steps.push([code, reason]),
    }),
  );
  const socket = await host.connect("/live");
  await socket.behaviour.drain(socket);
  await socket.receive("nobody listens");
  await socket.disconnect(1001, "left");
  expect(steps).toEqual(["open", "drain", [1001, "left"]]);
});

test("a response schema stops what does not match from being sent", async () => {
  const host = new FakeHost(
    object("box").ws("/live", {
      response: t.Object({ count: t.Number() }),
      message(ws) {
        ws.send({ count: 1 });
        // @ts-expect-error the schema says that this must be a number
        ws.send({ count: "many" });
      },
    }),
  );
  const socket = await host.connect("/live");
  await socket.receive("go");
  expect(socket.sent[0]).toBe('{"count":1}');
  expect(JSON.parse(String(socket.sent[1]))).toMatchObject({ type: "validation" });
});

test.each<[unknown, unknown]>([
  ["text", "text"],
  [7, "7"],
  [null, "null"],
  [undefined, "null"],
  [{ a: 1 }, '{"a":1}'],
  [new Uint8Array([1, 2]), new Uint8Array([1, 2])],
  [new Uint8Array([1, 2]).buffer, new Uint8Array([1, 2])],
  [new Uint16Array([1]), new Uint8Array([1, 0])],
])("%p is sent as %p", (message, sent) => {
  expect(encodeSocketMessage(message)).toEqual(sent as string); // either form of SocketData
});

// -- errors on a socket

test("what a handler throws reaches the machinery", async () => {
  const thrown = new Error("broken");
  const host = new FakeHost(
    object("box").ws("/live", {
      message() {
        throw thrown;
      },
      close: async () => {
        throw thrown;
      },
    }),
  );
  const socket = await host.connect("/live");
  await expect(socket.receive("x")).rejects.toBe(thrown);
  await expect(socket.disconnect(1000, "")).rejects.toBe(thrown);
});

test("the route's own error hook answers first, then those of the class and its groups, as for HTTP", async () => {
  const asked: string[] = [];
  const host = new FakeHost(
    object("box")
      .onError(() => void asked.push("class"))
      .group("/inner", (app) =>
        app
          .onError(({ code, error }) => {
            asked.push("group");
            return `${code}: ${error instanceof Error ? error.message : ""}`;
          })
          .ws("/live", {
            error: () => void asked.push("route"),
            message() {
              throw new Error("broken");
            },
          }),
      ),
  );
  const socket = await host.connect("/inner/live");
  await socket.receive("x");
  expect(asked).toEqual(["route", "class", "group"]);
  expect(socket.sent).toEqual(["UNKNOWN: broken"]);
});

test("an error hook finds the object's handles in its context", async () => {
  const host = new FakeHost(
    object("box", { state: () => ({ name: "box" }) }).ws("/live", {
      error: ({ state }: { state: { name: string } }) => state.name,
      message() {
        throw new Error("broken");
      },
    } as never), // Elysia types a socket's error hook without the class's own handles
  );
  const socket = await host.connect("/live");
  await socket.receive("x");
  expect(socket.sent).toEqual(["box"]);
});

test("a message that does not match goes to the error hooks first; the socket stays open whatever they say", async () => {
  const host = new FakeHost(
    object("box")
      .onError(({ code }) => (code === "VALIDATION" ? "bad message" : undefined))
      .ws("/live", { body: t.Object({}), message: () => undefined }),
  );
  const socket = await host.connect("/live");
  await socket.receive("7");
  expect(socket.sent).toEqual(["bad message"]);

  const silent = new FakeHost(
    object("box")
      .onError(() => undefined)
      .ws("/live", { body: t.Object({}), message: () => undefined }),
  );
  const other = await silent.connect("/live");
  await other.receive("7");
  expect(JSON.parse(String(other.sent[0]))).toMatchObject({ type: "validation" });
});

// -- two ways to write it

test("O1 a socket in a group is a socket", async () => {
  const host = new FakeHost(
    object("box").group("/x", (app) =>
      app.ws("/live", {
        message(ws, message) {
          ws.publish("all", message);
        },
      }),
    ),
  );
  const socket = await host.connect("/x/live");
  await socket.receive("hi");
  expect(socket.published).toEqual([{ topic: "all", message: "hi" }]);
});

/** Made with plain Elysia, so that `.ws()` is Elysia's own. */
const chat = () =>
  new Elysia({ prefix: "/chat" }).ws("/live", {
    upgrade: { "x-chat": "1" },
    body: t.Object({ text: t.String() }),
    query: t.Object({ name: t.Optional(t.String()) }),
    open(ws) {
      ws.subscribe("chat");
      ws.send(`welcome ${ws.data.query.name}`);
    },
    message(ws, { text }) {
      ws.publish("chat", { text });
      return { heard: text };
    },
    close(ws, code) {
      ws.send(`closed ${code}`);
    },
  });

test("O1 a plugin made with plain Elysia brings its own sockets", async () => {
  const host = new FakeHost(object("box").use(chat()));
  const { slot } = await host.upgrade("/chat/live?name=ada");
  expect(slot.accepted?.headers?.get("x-chat")).toBe("1");
  const socket = await host.connect("/chat/live?name=ada");
  expect(socket.subscriptions).toEqual(["chat"]);
  await socket.receive('{"text":"hi"}');
  await socket.receive("7");
  await socket.disconnect(1000, "");
  expect(socket.sent.slice(0, 2)).toEqual(["welcome ada", '{"heard":"hi"}']);
  expect(JSON.parse(String(socket.sent[2]))).toMatchObject({ type: "validation" });
  expect(socket.sent[3]).toBe("closed 1000");
  expect(socket.published).toEqual([{ topic: "chat", message: '{"text":"hi"}' }]);
});

test("the sockets of a plugin have the class's hooks before them and the object's handles on ws.data", async () => {
  const plugin = new Elysia().ws("/live", {
    open(ws) {
      const { state } = ws.data as unknown as { state: { name: string } }; // a plugin does not know its class's types
      ws.send(state.name);
    },
  });
  const host = new FakeHost(
    object("box", { state: () => ({ name: "box" }) })
      .onBeforeHandle(({ headers, status }) => (headers["x-key"] ? undefined : status(401)))
      .use(plugin),
  );
  expect((await host.upgrade("/live")).response.status).toBe(401);
  expect((await host.connect("/live", { "x-key": "open" })).sent).toEqual(["box"]);
});

test("a plugin's own beforeHandle is run twice by Elysia; its first answer is the one that counts", async () => {
  let runs = 0;
  const plugin = new Elysia().ws("/live", {
    beforeHandle({ headers, status }) {
      runs++;
      return headers["x-key"] ? undefined : status(401);
    },
    message: () => undefined,
  });
  const host = new FakeHost(object("box").use(plugin));
  expect((await host.upgrade("/live")).response.status).toBe(401);
  expect(runs).toBe(1);
  await host.connect("/live", { "x-key": "open" });
  expect(runs).toBe(3);
});

test("a plugin's socket refuses a request that is no upgrade", async () => {
  const warned = spyOn(console, "warn").mockImplementation(() => undefined);
  const host = new FakeHost(object("box").use(chat()));
  expect((await host.get("/chat/live")).status).toBe(426);
  expect(warned).not.toHaveBeenCalled();
  warned.mockRestore();
});
