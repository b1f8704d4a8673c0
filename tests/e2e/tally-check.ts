import type { HostProcess } from "../support/host-process.ts";
import { until } from "../support/wait.ts";
import { type Applied, counterName, type TallyBook } from "./tally-book.ts";

const answerLimitMs = 30_000;

/** Asks the hosts in turns what the counters have, and compares it with what was told. */
export async function checkCounters(
  counters: number,
  hosts: readonly HostProcess[],
  book: TallyBook,
  when: string,
): Promise<void> {
  for (let index = 0; index < counters; index += 1) {
    const name = counterName(index);
    const host = hosts[index % hosts.length];
    if (host === undefined) throw new Error("There is no host to ask.");
    book.check(name, await appliedOf(host, name), when);
  }
}

function appliedOf(host: HostProcess, name: string): Promise<Applied> {
  return until(
    `${name} answers`,
    async () => {
      const signal = AbortSignal.timeout(5_000);
      const response = await fetch(host.url(`/${name}/applied`), { signal }).catch(() => undefined);
      return response?.status === 200 && ((await response.json()) as Applied); // as the classes answer
    },
    answerLimitMs,
  );
}
