import type { SeededRandom } from "../../support/seeded-random.ts";
import { until } from "../../support/wait.ts";
import type { Offence } from "../offence.ts";
import { recoveryLimitMs } from "../stage.ts";
import type { Audience } from "./audience.ts";
import type { Publishing } from "./listening.ts";
import { checkPresence } from "./presence-check.ts";
import type { Publisher } from "./publisher.ts";

/** Until everybody is back and has heard a last word of each topic, and knows who else is there. What does not come is told of. */
export async function settle(crowd: Audience, last: Publisher, random: SeededRandom): Promise<Offence[]> {
  crowd.settle();
  const words = new Map<string, Publishing[]>();
  const waiting = () => crowd.notes.filter((notes) => !hasHeard(notes.told, words.get(notes.address)));
  await until(
    "everybody has heard a last word",
    async () => {
      const silent = new Set(waiting().map(({ address }) => address));
      for (const address of silent) await lastWord(address);
      return silent.size === 0;
    },
    2 * recoveryLimitMs,
  ).catch(() => undefined);
  async function lastWord(address: string): Promise<void> {
    const said = words.get(address) ?? [];
    words.set(address, [...said, await last.say(address, random.pick(last.hosts))]);
    await Bun.sleep(100); // time to hear it, before another is said
  }
  const offences = waiting().map(({ listener, address, isOpen }): Offence => {
    const text = `${address}: has not heard a last word; it is ${isOpen ? "" : "not "}connected`;
    return { kind: "unsettled", client: listener, text };
  });
  const presence = () => {
    const walls = crowd.notes.filter(({ address, kind }) => address.endsWith("/wall") && kind !== "raw");
    return checkPresence(
      walls.map(({ watching }) => watching),
      crowd.connected,
    );
  };
  await until("everybody knows who is there", () => presence().length === 0, recoveryLimitMs).catch(
    () => undefined,
  );
  return [...offences, ...presence()];
}

function hasHeard(
  told: readonly { readonly kind: string }[],
  words: readonly Publishing[] | undefined,
): boolean {
  const messages = new Set(words?.map(({ message }) => message));
  return told.some((one) => "message" in one && messages.has(String(one.message)));
}
