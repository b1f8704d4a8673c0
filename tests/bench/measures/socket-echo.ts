import { type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";
import { Stage } from "../stage.ts";

const load = { kind: "echo", sockets: 100, path: "/echo/a/live" } as const;

/** Round trips of a small text on 100 sockets: at the owner against plain Bun, and through another edge. */
export const socketEcho: Measure = {
  name: "socket-echo",
  run: (pace) =>
    Stage.with(async (stage) => {
      const { edge, owner } = await stage.edgeAndOwner();
      const bun = await stage.socketSide(load, await stage.plainBun());
      const local = await stage.socketSide(load, owner);
      const remote = await stage.socketSide(load, edge, [edge, owner]);
      const localHead = { measure: "socket echo, 100 sockets", against: "Bun", ratioMin: 0.9 };
      const remoteHead = { measure: "socket echo, remote owner", against: "local" };
      return [
        rateFigure(localHead, await compare(pace, local, bun)),
        rateFigure(remoteHead, await compare(pace, remote, local)),
      ];
    }),
};
