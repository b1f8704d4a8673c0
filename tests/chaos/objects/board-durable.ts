/** Topics whose histories outlive their owners. */
export { default } from "../../continuity/objects/board-durable.ts";
