import { LinkChannel } from "../../../infra/link/link-channel.ts";

/** Counts from here on what channels of this process send to other hosts, which no host does by itself. */
export function countFrames(): () => number {
  let frames = 0;
  const { send } = LinkChannel.prototype;
  LinkChannel.prototype.send = function counted(this: LinkChannel, kind, payload) {
    frames += 1;
    return send.call(this, kind, payload);
  };
  return () => frames;
}
