import type { HeardMessage, Listening } from "./listening.ts";

/**
 * A piece of what a listener heard that has to be whole: from one `subscribed` to the next that does not say
 * `recovered: true`, whatever connections lie between; of a raw socket, from its first message to its end.
 */
export interface Stretch {
  readonly listener: string;
  readonly address: string;
  /** Whoever publishes after that is heard, up to the end of the stretch. */
  readonly fromMs: number;
  readonly heard: readonly HeardMessage[];
}

interface Growing extends Stretch {
  readonly heard: HeardMessage[];
}

export function stretchesOf({ listener, kind, address, told }: Listening): Stretch[] {
  const stretches: Growing[] = [];
  let current: Growing | undefined;
  const begin = (fromMs: number): Growing => {
    const stretch = { listener, address, fromMs, heard: [] };
    stretches.push(stretch);
    return stretch;
  };
  for (const one of told) {
    switch (one.kind) {
      case "subscribed":
        if (one.recovered !== true || current === undefined) current = begin(one.atMs);
        break;
      case "opened":
        current = undefined;
        break;
      case "closed":
        if (kind === "raw") current = undefined;
        break;
      case "message":
        current ??= begin(one.atMs);
        current.heard.push(one);
        break;
    }
  }
  return stretches;
}
