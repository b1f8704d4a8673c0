import { boardClass } from "./_board.ts";

/** What its topics have said is in memory: it travels with a planned move, and is gone after a crash. */
export default boardClass("board", "memory");
