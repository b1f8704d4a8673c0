import { expect, test } from "bun:test";
import { ClientPulse, type PulsingClient } from "../../infra/edge/client-pulse.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const silenceMaxMs = 60_000;

function rig() {
  const clock = new VirtualClock();
  const pulse = new ClientPulse(clock, silenceMaxMs);
  const heard: string[] = [];
  const client = (name: string, answers = false): PulsingClient => {
    const it = {
      ping() {
        heard.push(`ping ${name}`);
        if (answers) pulse.heard(it);
      },
      terminate: () => heard.push(`end ${name}`),
    };
    pulse.opened(it);
    return it;
  };
  return { clock, pulse, heard, client };
}

test("a client that says nothing is asked, and given up when it does not answer", async () => {
  const { clock, pulse, heard, client } = rig();
  client("dead");
  await clock.advance(silenceMaxMs - 1);
  expect(heard).toEqual(["ping dead"]);
  await clock.advance(1);
  expect(heard).toEqual(["ping dead", "end dead"]);
  await clock.advance(10 * silenceMaxMs);
  expect(heard).toHaveLength(2);
  pulse.stop();
  expect(clock.timersLeft).toBe(0);
});

test("whoever answers stays, and whoever speaks is not asked", async () => {
  const { clock, pulse, heard, client } = rig();
  client("idle", true);
  const busy = client("busy");
  for (let second = 0; second < 600; second += 10) {
    pulse.heard(busy);
    await clock.advance(10_000);
  }
  expect(new Set(heard)).toEqual(new Set(["ping idle"]));
  pulse.closed(busy);
  pulse.heard(busy);
  await clock.advance(silenceMaxMs);
  expect(heard).not.toContain("ping busy");
  pulse.stop();
});

test("a host that stood still gives up nobody for what it could not hear", async () => {
  const { clock, pulse, heard, client } = rig();
  client("patient", true);
  clock.freeze(10 * silenceMaxMs);
  await clock.advance(silenceMaxMs);
  expect(heard).toEqual(["ping patient"]);
  pulse.stop();
});
