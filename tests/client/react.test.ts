import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { Window } from "happy-dom";
import { Activity, act, createElement, type FunctionComponent, StrictMode } from "react";
import type { Root } from "react-dom/client";
import {
  type TopicHookOptions,
  type TopicView,
  useConnection,
  useObject,
  useTopic,
} from "../../apps/client/react.ts";
import { Rig } from "./rig.ts";

/** React looks for these as it loads, and no other test must find them. */
const globals = ["window", "document", "IS_REACT_ACT_ENVIRONMENT"] as const;
const scope = globalThis as unknown as Record<string, unknown>; // whose keys are those above
const before = globals.map((name) => scope[name]);
let window: Window;

beforeAll(() => {
  window = new Window();
  Object.assign(scope, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
});
afterAll(async () => {
  for (const [index, name] of globals.entries()) {
    if (before[index] === undefined) delete scope[name];
    else scope[name] = before[index];
  }
  await window.happyDOM.close();
});

let root: Root | undefined;
afterEach(async () => {
  await act(async () => root?.unmount());
  root = undefined;
});

async function rootOf(): Promise<Root> {
  const { createRoot } = await import("react-dom/client");
  // The DOM of happy-dom is as good as any to React.
  root ??= createRoot(window.document.createElement("div") as never);
  return root;
}

async function render(component: FunctionComponent): Promise<void> {
  const at = await rootOf();
  await act(async () => at.render(createElement(StrictMode, null, createElement(component))));
}

/** Lets the network move, and React show what came of it. */
const settle = (rig: Rig) => act(() => rig.settle());

/** What a component that listens to the chat of an object saw at each render. */
function watcher(rig: Rig, options: TopicHookOptions = {}) {
  const seen: TopicView<unknown>[] = [];
  let id = "lobby";
  const component = () => {
    const room = useObject(rig.client, "room", id);
    seen.push(useTopic(room, "chat", options));
    return null;
  };
  return {
    seen,
    component,
    get view() {
      return seen.at(-1);
    },
    moveTo(next: string) {
      id = next;
    },
  };
}

test("C18 a component hears what is published while it is mounted, under StrictMode on one subscription", async () => {
  const rig = new Rig();
  const { component, ...watch } = watcher(rig);
  await render(component);
  await settle(rig);
  rig.publish(1, 2);
  await settle(rig);
  expect(watch.seen.at(-1)).toMatchObject({
    messages: [1, 2],
    last: 2,
    position: "h1.2",
    state: "subscribed",
    recovered: undefined,
    gaps: 0,
    error: undefined,
  });
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["subscribe"]);
  await act(async () => root?.unmount());
  await settle(rig);
  expect(rig.iad.frames.map(({ type }) => type)).toEqual(["subscribe", "unsubscribe"]);
  await act(() => rig.close());
});

test("C18 the list is bounded, and a gap is counted", async () => {
  const rig = new Rig();
  const watch = watcher(rig, { messagesMax: 2, since: "oldest", presence: true });
  await render(watch.component);
  await settle(rig);
  rig.publish(1, 2, 3);
  await settle(rig);
  expect(watch.view).toMatchObject({ messages: [2, 3], gaps: 0, recovered: true, presence: { count: 1 } });
  rig.iad.forget("room/lobby", "chat");
  await settle(rig);
  expect(watch.view).toMatchObject({ messages: [2, 3], gaps: 1, recovered: false });
  rig.iad.drop(1012);
  await settle(rig);
  expect(watch.view).toMatchObject({ state: "waiting" });
  await act(() => rig.pass(2_000));
  expect(watch.view).toMatchObject({ state: "subscribed", recovered: true, gaps: 1 });
  await act(() => rig.close());
});

test("C18 another object is another topic; the same one, asked for anew, is the same", async () => {
  const rig = new Rig();
  const watch = watcher(rig);
  await render(watch.component);
  await settle(rig);
  rig.publish("in the lobby");
  await settle(rig);
  await render(watch.component);
  expect(watch.view?.messages).toEqual(["in the lobby"]);
  watch.moveTo("kitchen");
  await render(watch.component);
  await settle(rig);
  rig.iad.publish("room/kitchen", "chat", "in the kitchen");
  rig.publish("not for us");
  await settle(rig);
  expect(watch.view?.messages).toEqual(["in the kitchen"]);
  await act(() => rig.close());
});

test("C18 a component that was hidden goes on where it was", async () => {
  const rig = new Rig();
  const watch = watcher(rig);
  const shown = (mode: "visible" | "hidden") => {
    // biome-ignore lint/correctness/noChildrenProp: the types of Activity ask for it there
    const tree = createElement(Activity, { mode, children: createElement(watch.component) });
    return act(async () => (await rootOf()).render(createElement(StrictMode, null, tree)));
  };
  await shown("visible");
  await settle(rig);
  rig.publish(1);
  await settle(rig);
  await shown("hidden");
  await settle(rig);
  rig.publish(2, 3);
  await settle(rig);
  await shown("visible");
  await settle(rig);
  rig.publish(4);
  await settle(rig);
  expect(watch.view).toMatchObject({ messages: [1, 2, 3, 4], recovered: true, gaps: 0 });
  await act(() => rig.close());
});

test("C18 a component publishes, and is told why it cannot listen", async () => {
  const rig = new Rig();
  const watch = watcher(rig);
  await render(watch.component);
  await settle(rig);
  await act(async () => {
    await Promise.all([watch.view?.publish({ from: "ann" }), rig.settle()]);
  });
  expect(watch.view?.messages).toEqual([{ from: "ann" }]);
  rig.iad.refuses = () => ({ status: 403, error: { detail: "not for you" } });
  rig.iad.drop(1012);
  await act(() => rig.pass(2_000));
  expect(watch.view).toMatchObject({
    state: "ended",
    error: { code: "refused", problem: { detail: "not for you" } },
  });
  await act(() => rig.close());
});

test("C18 the state of the connection", async () => {
  const rig = new Rig();
  const states: string[] = [];
  const watch = watcher(rig);
  await render(() => {
    states.push(useConnection(rig.client).status);
    return watch.component();
  });
  await settle(rig);
  await act(() => rig.close());
  expect([...new Set(states)]).toEqual(["idle", "connecting", "open", "closed"]);
});

test("C18 on a server a component shows what there is: nothing yet, and no connection", async () => {
  const rig = new Rig();
  const { renderToString } = await import("react-dom/server");
  const html = renderToString(
    createElement(() => {
      const room = useObject(rig.client, "room", "lobby");
      const { state, messages } = useTopic(room, "chat");
      return createElement("p", null, `${state} ${messages.length} ${useConnection(rig.client).status}`);
    }),
  );
  expect(html).toBe("<p>waiting 0 idle</p>");
  expect(rig.network.dialled).toEqual([]);
  await act(() => rig.close());
});
