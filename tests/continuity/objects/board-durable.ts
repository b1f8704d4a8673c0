import { boardClass } from "./_board.ts";

export default boardClass("board-durable", "storage");
