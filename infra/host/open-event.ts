import { internalOrigin, type ObjectEvent, type UpgradeSlot } from "../object/event.ts";
import type { Activation } from "./activation.ts";
import type { GateVisitor } from "./input-gate.ts";

/** An event on its way through one activation. */
export class OpenEvent implements ObjectEvent, GateVisitor {
  readonly path: string;
  readonly url: string;
  readonly queryIndex: number;
  readonly object: Activation;
  readonly upgrade: UpgradeSlot | undefined;
  ending: AbortController | null | undefined = undefined;
  readonly chain: readonly string[];

  /** @param target raw path and query from the class name on: `/counter/a/increment?by=2` */
  constructor(object: Activation, target: string, upgrade?: UpgradeSlot, chain: readonly string[] = noChain) {
    const query = target.indexOf("?");
    this.path = query === -1 ? target : target.slice(0, query);
    this.url = internalOrigin + target;
    this.queryIndex = query === -1 ? -1 : internalOrigin.length + query;
    this.object = object;
    this.upgrade = upgrade;
    this.chain = chain;
  }

  get objectKey(): string {
    return this.object.ref.key;
  }
}

const noChain: readonly string[] = [];

/** An event whose route was matched by the server: its path and query are looked at only where a handler asks. */
export class RoutedEvent implements ObjectEvent, GateVisitor {
  readonly object: Activation;
  readonly upgrade = undefined;
  ending: AbortController | null | undefined = undefined;
  readonly chain = noChain;
  readonly params: Readonly<Record<string, string>>;
  readonly #request: Request;

  constructor(object: Activation, request: RoutedRequest) {
    this.object = object;
    this.params = request.params;
    this.#request = request;
  }

  get url(): string {
    const { url } = this.#request;
    return internalOrigin + url.slice(url.startsWith("/") ? 0 : url.indexOf("/", originStart));
  }
  get path(): string {
    const { url, queryIndex } = this;
    return url.slice(internalOrigin.length, queryIndex === -1 ? undefined : queryIndex);
  }
  get queryIndex(): number {
    return this.url.indexOf("?", internalOrigin.length);
  }
  get objectKey(): string {
    return this.object.ref.key;
  }
}

/** A request with the parameters of the route that a server matched. */
export type RoutedRequest = Request & { readonly params: Readonly<Record<string, string>> };

/** Where a URL's host begins at the earliest: after `http://`. */
const originStart = 7;

/** What an activation serves. */
export type HttpEvent = OpenEvent | RoutedEvent;
