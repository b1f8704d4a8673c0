import { Sqld } from "../../support/sqld.ts";
import { converse } from "../conversation.ts";

export interface DatabaseReady {
  readonly url: string;
}

/** A real libSQL server. In a process of its own, because a child runs on the core that its parent is pinned to. */
const sqld = await Sqld.start();
converse(
  { url: sqld.httpUrl },
  () => ({}),
  () => sqld.stop(),
);
