import type { PlacementStrategy } from "./placement.ts";
import { nearest } from "./strategy-nearest.ts";

/**
 * Nearest, within the regions that the class names. The regions themselves are a matter of eligibility (P2), so that no
 * order of candidates can ever lead out of them; what is left to decide here is the order inside.
 */
export const pinned: PlacementStrategy = nearest;
