import { ClientError } from "./errors.ts";

/**
 * The URLs of a client's hosts, nearest first, and the one in use. Connections, sockets and calls share it: what one of them
 * has found out about a host the others need not.
 */
export class Endpoints {
  readonly #urls: readonly string[];
  #index = 0;

  constructor(urls: string | readonly string[]) {
    this.#urls = [urls].flat().map(baseUrl);
    if (this.#urls.length === 0) throw new ClientError("bad_argument", "connect() takes at least one URL.");
  }

  get current(): string {
    return this.#urls[this.#index] ?? "";
  }

  get count(): number {
    return this.#urls.length;
  }

  /** Goes on to the next, unless somebody else has done so already. */
  failed(url: string): void {
    if (url === this.current) this.#index = (this.#index + 1) % this.#urls.length;
  }

  preferFirst(): void {
    this.#index = 0;
  }
}

/** Without a slash at the end. */
function baseUrl(text: string): string {
  try {
    const { protocol, host, pathname } = new URL(text);
    const scheme = /^(?:http|ws)(s?):$/.exec(protocol);
    if (scheme) return `http${scheme[1]}://${host}${pathname.replace(/\/+$/, "")}`;
  } catch {
    // Said below, like any other text that is not one.
  }
  throw new ClientError("bad_argument", `"${text}" is not the URL of a host, as https://iad.example.com is.`);
}

export function socketUrl(url: string): string {
  return url.replace(/^http/, "ws");
}
