import { until } from "../../support/wait.ts";
import type { Scenario } from "../scenario.ts";

/** Alarms that are all due in the same instant. */
export const alarmsDue: Scenario = {
  name: "alarms-due",
  about: "100,000 alarms of 1,000 objects, all due at once",
  expected: ["200", "503 storage_backlog"],
  floors: ({ size }) => ({ "200": size(1000, 10) }),
  growth: (stage) => ({
    mebibytes: stage.size(256, 96),
    because:
      "1,000 objects with 100 alarms each: rows of a few hundred bytes, in memory and on their way to the directory",
  }),
  bystanderP99Ms: 2000,
  async run(stage) {
    const objects = stage.size(1000, 10);
    const each = stage.size(100, 10);
    const setMs = stage.size(20_000, 1000);
    const dueAtMs = Date.now() + setMs;
    const line = `POST /chime/{n}/set/${each}/${dueAtMs}`;
    const repeats = ["storage_backlog"];
    const attack = await stage.attack({ kind: "requests", connections: 16, count: objects, line, repeats });
    await attack.done(60_000);
    stage.figure("set a second", (objects * each) / ((Date.now() - (dueAtMs - setMs)) / 1000));
    await Bun.sleep(Math.max(0, dueAtMs - Date.now()));
    const startMs = performance.now();
    let rung = 0;
    const all = async () => {
      rung = 0;
      for (let n = 0; n < objects; n += stage.size(10, 1)) {
        const told = (await (await stage.ask(`/chime/${n}`)).json()) as { rung: number }; // what chime.ts answers
        rung += told.rung;
      }
      if (rung < (objects * each) / stage.size(10, 1)) await Bun.sleep(500);
      return rung >= (objects * each) / stage.size(10, 1);
    };
    await until("all alarms of those who are asked have rung", all, 200_000).catch((error: Error) =>
      stage.check(`${error.message}: ${rung}`, false),
    );
    stage.figure("rung after, s", (performance.now() - startMs) / 1000);
  },
  serves: async (stage) => (await stage.ask("/chime/1")).ok,
  recoveryLimitMs: 5000,
};
