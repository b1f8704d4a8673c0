import { checkCalls } from "./calls-check.ts";
import type { CheckRequest } from "./checking.ts";
import type { Call } from "./operations.ts";

declare const self: Worker;

const calls: Call[] = [];
self.onmessage = ({ data }: MessageEvent<CheckRequest>) => {
  for (const call of data.calls) calls.push(call);
  self.postMessage(checkCalls([...calls, ...data.open]));
};
