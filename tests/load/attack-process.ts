import { constants, setPriority } from "node:os";
import { converse, setupOf } from "../bench/conversation.ts";
import type { Attack } from "./attack.ts";
import { Bodies, type BodiesSetup } from "./attacks/bodies.ts";
import { Held, type HeldSetup } from "./attacks/held.ts";
import { Requests, type RequestsSetup } from "./attacks/requests.ts";
import { Sockets, type SocketsSetup } from "./attacks/sockets.ts";

/** What a process of load does. */
export type AttackSetup =
  | ({ readonly kind: "bodies" } & BodiesSetup)
  | ({ readonly kind: "held" } & HeldSetup)
  | ({ readonly kind: "requests" } & RequestsSetup)
  | ({ readonly kind: "sockets" } & SocketsSetup);

export type AttackQuestion = { readonly ask: "report" } | { readonly ask: "step"; readonly name: string };

function attackOf(setup: AttackSetup): Attack {
  switch (setup.kind) {
    case "bodies":
      return new Bodies(setup);
    case "held":
      return new Held(setup);
    case "requests":
      return new Requests(setup);
    case "sockets":
      return new Sockets(setup);
  }
}

if (import.meta.main) {
  // Clients are many machines. On this one they step back where the host, or who measures it, needs the processor.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const attack = attackOf(setupOf<AttackSetup>());
  await attack.begin();
  converse<AttackQuestion>({}, async (question) => {
    if (question.ask === "step") await attack.step?.(question.name);
    return attack.report();
  });
}
