import { expect } from "bun:test";
import { StatefulError } from "../../infra/lib/errors.ts";

/** What decodes input from outside either returns what the input says, or throws `bad_request`. */
export function expectSound(work: () => unknown): void {
  try {
    work();
  } catch (thrown) {
    if (!(thrown instanceof StatefulError)) throw thrown;
    expect(thrown.code).toBe("bad_request");
  }
}
