import { expect, test } from "bun:test";
import { FramedNames } from "../../infra/edge/framed-names.ts";
import { said } from "../support/topic-message.ts";

test("who is told one by one hears the frame that all others hear, for each message its own", async () => {
  const names = new FramedNames();
  names.add("room/a\nchat", "room/a", "chat");
  for (const message of [
    said("chat", "one", "h.1"),
    said("chat", "two"),
    said("chat", new Uint8Array([1])),
  ]) {
    const shared = names.frameOf("room/a\nchat", message);
    expect(names.frameFor("room/a", "chat", message)).toBe(shared ?? "");
    expect(names.frameFor("room/a", "chat", message)).toBe(shared ?? "");
  }
  const [one, two] = [said("chat", "one"), said("chat", "two")];
  expect(names.frameFor("room/a", "chat", one)).toContain('"one"');
  expect(names.frameFor("room/b", "chat", two)).toContain('"room/b"');
  await Promise.resolve();
  expect(names.frameFor("room/a", "chat", one)).toContain('"one"');
});
