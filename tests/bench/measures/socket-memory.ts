import { costFigure, type Measure } from "../figure.ts";
import type { Memory } from "../memory.ts";
import { memoryOf, type Server, Stage } from "../stage.ts";

const sockets = 5000;
const load = { kind: "idle", sockets, path: "/echo/a/live" } as const;
const warmUp = { ...load, sockets: 200 };
const roundsMax = 2;

/** Bytes of an idle socket at the owner's edge, against plain Bun's. */
export const socketMemory: Measure = {
  name: "socket-memory",
  async run({ rounds }) {
    const pairs: { readonly ours: Memory; readonly reference: Memory }[] = [];
    for (let round = 0; round < Math.min(rounds, roundsMax); round++) {
      const ours = await perSocket((stage) => stage.host());
      pairs.push({ ours, reference: await perSocket((stage) => stage.plainBun()) });
    }
    return (["heapBytes", "residentBytes"] as const).map((kind) => {
      const measure = `idle socket, ${kind === "heapBytes" ? "heap" : "resident"}, of 5,000`;
      const perKind = pairs.map(({ ours, reference }) => ({ ours: ours[kind], reference: reference[kind] }));
      return costFigure({ measure, unit: "B", against: "Bun" }, perKind);
    });
  },
};

function perSocket(start: (stage: Stage) => Promise<Server>): Promise<Memory> {
  return Stage.with(async (stage) => {
    const server = await start(stage);
    await stage.socketSide(warmUp, server);
    const before = await memoryOf(server);
    await stage.socketSide(load, server);
    const after = await memoryOf(server);
    return {
      heapBytes: (after.heapBytes - before.heapBytes) / sockets,
      residentBytes: (after.residentBytes - before.residentBytes) / sockets,
    };
  });
}
