/** Topics whose histories are in memory. */
export { default } from "../../continuity/objects/board.ts";
