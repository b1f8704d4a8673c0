import type { UpgradeHead } from "../host/edge-port.ts";
import { headBytesOf } from "../host/waiting-heads.ts";
import { StatefulError } from "../lib/errors.ts";
import { forwardedHeaders } from "./http-fields.ts";

/**
 * An upgrade with more of a head is refused with `headers_too_large`. Twice what Bun takes of any request unless it is told
 * otherwise, because the path is in a head twice; and one message of a link, far below a part of one.
 */
export const upgradeHeadBytesMax = 32 * 1024;
/** All heads that a host keeps for its clients. Past it an upgrade is refused with `host_full`. */
export const keptHeadsBytesMax = 512 * 1024 * 1024;

/** What an edge keeps of a client's request, to run the hooks of its upgrade again. @throws StatefulError `headers_too_large` */
export function upgradeHeadOf(kind: UpgradeHead["kind"], request: Request, target: string): UpgradeHead {
  const head = { kind, url: request.url, target, headers: forwardedHeaders(request.headers) };
  checkHead(head);
  return head;
}

/** @throws StatefulError `headers_too_large` */
export function checkHead(head: UpgradeHead): void {
  const bytes = headBytesOf(head);
  if (bytes <= upgradeHeadBytesMax) return;
  const message = `The URL and the headers of the upgrade take ${bytes} bytes, and ${upgradeHeadBytesMax} are kept at most. Send less of them: fewer cookies, or a token in the first message.`;
  throw new StatefulError("headers_too_large", message);
}
