import { costFigure, type Figure, type Measure } from "../figure.ts";
import type { MoveLoad, MovesAnswer, MovesQuestion } from "../load-moves.ts";
import { percentileOf } from "../pace.ts";
import { type Server, Stage } from "../stage.ts";
import { adminToken } from "../../support/admin-token.ts";

const distance = { roundTripMs: 40, primaryRoundTripMs: 20 } as const;
/** What a move may take, as it is drawn in `infra/host/README.md`, and as much again between the hosts. */
const goalMs = 3 * distance.roundTripMs + 2 * distance.primaryRoundTripMs;
/** 200 in the five rounds of a usual run. */
const movesPerRound = 40;
const warmUpMoves = 4;
const restMs = 4 * distance.roundTripMs;
const cases = [
  { what: "in memory", object: "/traveller/memory", sockets: 0 },
  { what: "storage just written", object: "/writer/storage", sockets: 0 },
  { what: "100 sockets at 3 edges", object: "/traveller/sockets", sockets: 100 },
] as const;

/**
 * The pause of a planned move between hosts at a distance: from the shutting of the object's gate (its `onMoveOut`, on which
 * nothing waits here) to the beginning of the first event that the target serves. The object notes both, in its own state.
 * Round trips are the simulated ones: what timers and processors add to them counts against us.
 */
export const movePause: Measure = {
  name: "move-pause",
  run: ({ rounds }) =>
    Stage.with(async (stage) => {
      const { url: directoryUrl } = (await stage.database()).ready;
      const names = ["a", "b", "c"];
      const setups = names.map((hostId) => ({ hostId, directoryUrl, adminToken, distance }));
      const servers: Server[] = [];
      for (const setup of setups) servers.push(await stage.host(setup));
      await Promise.all(servers.map((server) => stage.knowsOthers(server, names.length - 1)));
      const hosts = servers.map(({ ready: { port } }, index) => ({ port, hostId: names[index] ?? "" }));
      const figures: Figure[] = [];
      for (const { what, object, sockets } of cases) {
        const load: MoveLoad = { hosts, adminToken, object, sockets, restMs };
        figures.push(...figuresOf(what, await movesOf(load, rounds)));
      }
      return figures;
    }),
};

function movesOf(setup: MoveLoad, rounds: number): Promise<MovesAnswer> {
  return Stage.with(async (stage) => {
    const load = await stage.start("load-moves.ts", setup, "load");
    const ask = (moves: number) => load.ask<MovesAnswer>({ moves } satisfies MovesQuestion);
    await ask(warmUpMoves);
    const answers: MovesAnswer[] = [];
    for (let round = 0; round < rounds; round++) answers.push(await ask(movesPerRound));
    const all = (kind: keyof MovesAnswer) => answers.flatMap((answer) => answer[kind]);
    return { pausesMs: all("pausesMs"), waitsMs: all("waitsMs") };
  });
}

function figuresOf(what: string, { pausesMs, waitsMs }: MovesAnswer): Figure[] {
  const figure = (name: string, valuesMs: readonly number[], against: string, reference: number) => {
    const head = { measure: `move, ${what}: ${name}`, unit: "ms", against } as const;
    const ratioMax = reference === goalMs && valuesMs !== waitsMs ? { ratioMax: 1 } : {};
    return costFigure(
      { ...head, ...ratioMax },
      valuesMs.map((ours) => ({ ours, reference })),
    );
  };
  const goal = "3 round trips, 2 to the primary";
  const { roundTripMs, primaryRoundTripMs } = distance;
  return [
    figure("pause", pausesMs, goal, goalMs),
    figure("pause, 99th of 100", [percentileOf(pausesMs, 0.99)], goal, goalMs),
    figure("pause", pausesMs, "a round trip", roundTripMs),
    figure("pause", pausesMs, "one to the primary", primaryRoundTripMs),
    figure("longest wait", waitsMs, goal, goalMs),
  ];
}
