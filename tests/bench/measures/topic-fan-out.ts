import { type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";
import { Stage } from "../stage.ts";

/** Deliveries of a published message to the sockets at the owner's edge, against Bun's native publish. */
export function topicFanOut(sockets: number): Measure {
  const load = { kind: "fan-out", sockets, path: "/room/lobby/live" } as const;
  const measure = `fan-out to ${sockets.toLocaleString("en-US")} sockets`;
  return {
    name: `topic-fan-out-${sockets}`,
    run: (pace) =>
      Stage.with(async (stage) => {
        const ours = await stage.socketSide(load, await stage.host());
        const reference = await stage.socketSide(load, await stage.plainBun());
        const comparison = await compare(pace, ours, reference);
        return [rateFigure({ measure, against: "Bun publish", ratioMin: 0.9 }, comparison)];
      }),
  };
}
