import { type Figure, type Measure, rateFigure } from "../figure.ts";
import { compare } from "../pace.ts";

/** Deliveries of a published message to the sockets at the owner's edge, against Bun's native publish. */
export const topicFanOut: Measure = {
  name: "topic-fan-out",
  async run(stage, pace) {
    const figures: Figure[] = [];
    for (const sockets of [1000, 5000]) {
      // Each size has its own servers: a socket that is only open costs as well.
      const [ours, reference] = [await stage.host(), await stage.plainBun()];
      const load = { kind: "fan-out", sockets, path: "/room/lobby/live" } as const;
      const sides = [await stage.socketSide(load, ours), await stage.socketSide(load, reference)] as const;
      const measure = `fan-out to ${sockets.toLocaleString("en-US")} sockets`;
      figures.push(
        rateFigure({ measure, against: "Bun publish", ratioMin: 0.9 }, await compare(pace, ...sides)),
      );
      await Promise.all([stage.end(ours), stage.end(reference)]);
    }
    return figures;
  },
};
