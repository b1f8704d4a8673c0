import { talkClass } from "./_talk.ts";

/** What it knows is in memory: it travels with a planned move, and is gone after a crash. */
export default talkClass("talk", { durability: "memory" });
