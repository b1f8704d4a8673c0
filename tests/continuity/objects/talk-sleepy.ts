import { talkClass } from "./_talk.ts";

/** Goes to sleep as soon as a class may. */
export default talkClass("talk-sleepy", { durability: "storage", idleAfterMs: 1_000 });
