import { equallyNear } from "./nearness.ts";
import type { PlacementStrategy } from "./placement.ts";
import { spread } from "./rendezvous.ts";

/**
 * Nearest to the caller; spread over hosts that are equally near (P6). The edge itself gets no preference over its
 * neighbours: an object stays long after its first caller, and one more hop within a region costs less than one host that
 * collects every object of it.
 */
export const nearest: PlacementStrategy = (eligible, object) =>
  equallyNear(eligible).flatMap((group) => spread(group, object));
