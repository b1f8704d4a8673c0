import { talkClass } from "./_talk.ts";

/** Nothing that it told anybody is ever lost. */
export default talkClass("talk-durable", { durability: "storage" });
