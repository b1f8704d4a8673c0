import { StatefulError } from "../lib/errors.ts";

export interface AddressLimitsSetup {
  /** Sockets, event streams and connections for many that one address may have open here. 0: no limit. */
  readonly socketsMax: number;
  /** Requests of one address that may wait for their answers here. 0: no limit. */
  readonly requestsMax: number;
}

/** What an address is told before it should try again. */
const retryAfterMs = 1000;
/** Characters of what a proxy says in the place of an address. */
const unknownLengthMax = 64;

/**
 * What one client's address may have open at one edge (E33). An address is in the table while something of it is open, so the
 * table is never longer than what the host itself lets in.
 *
 * Loopback and private addresses are not counted. Behind a proxy whose header nobody has configured they are the proxy's, and
 * all clients would share its limit; in front of none they are an operator's own machines.
 */
export class AddressLimits {
  readonly #setup: AddressLimitsSetup;
  readonly #sockets = new Map<string, number>();
  readonly #requests = new Map<string, number>();
  /** Refused, since the start. */
  refused = 0;

  constructor(setup: AddressLimitsSetup) {
    this.#setup = setup;
  }

  /** Addresses with something open. */
  get size(): number {
    const onlyRequests = [...this.#requests.keys()].filter((key) => !this.#sockets.has(key));
    return this.#sockets.size + onlyRequests.length;
  }

  /**
   * As long as fewer requests than this are open at a host, no address is looked at: all of them may be one address's, and then
   * it has as many again. Looking costs more than a short request does.
   */
  get requestsUncounted(): number {
    const { requestsMax } = this.#setup;
    return requestsMax === 0 ? Number.POSITIVE_INFINITY : Math.floor(requestsMax / 2);
  }

  /** A place for a socket; what is returned gives it back, once. @throws StatefulError `address_limit` */
  socket(address: string): () => void {
    return this.#take(this.#sockets, address, this.#setup.socketsMax, "sockets");
  }

  /** … for a request that begins while more than `requestsUncounted` are open. @throws StatefulError `address_limit` */
  request(address: string): () => void {
    return this.#take(
      this.#requests,
      address,
      this.#setup.requestsMax - this.requestsUncounted,
      "open requests",
    );
  }

  #take(open: Map<string, number>, address: string, max: number, what: string): () => void {
    const key = max > 0 ? countedAddress(address) : undefined;
    if (key === undefined) return notCounted;
    const count = open.get(key) ?? 0;
    if (count >= max) {
      this.refused += 1;
      throw new StatefulError("address_limit", `This address has all the ${what} that it may have here.`, {
        retryAfterMs,
      });
    }
    open.set(key, count + 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      const left = (open.get(key) ?? 0) - 1;
      if (left > 0) open.set(key, left);
      else open.delete(key);
    };
  }
}

function notCounted(): void {
  // Nothing was taken.
}

/**
 * What is counted as one: an IPv4 address, also where IPv6 carries it; the /64 of an IPv6 address, which is what one
 * subscriber has at least (RFC 6177). Undefined for what is not counted: loopback, link-local and private addresses
 * (RFC 1918, RFC 6598, RFC 4193), and none at all.
 */
export function countedAddress(address: string): string | undefined {
  const text = withoutPort(address.trim().toLowerCase()).replace(/%.*$/, "");
  if (text === "") return undefined;
  const groups = groupsOf(text);
  const ofV4 = groups === undefined ? v4.exec(text)?.[0] : mappedV4(groups);
  if (ofV4 !== undefined) return isPrivateV4(ofV4) ? undefined : ofV4;
  // Not an address, and said by a proxy that is trusted: whoever it stands for is one.
  if (groups === undefined) return text.slice(0, unknownLengthMax);
  const [first = 0, second = 0, third = 0, fourth = 0] = groups;
  const isLoopback = groups.every((group, index) => group === (index === 7 ? 1 : 0));
  const isPrivate = (first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfe80;
  if (isLoopback || isPrivate) return undefined;
  return `${[first, second, third, fourth].map((group) => group.toString(16)).join(":")}::/64`;
}

const v4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

/** Some proxies say the port as well: each connection would be an address of its own. */
function withoutPort(text: string): string {
  const [, inBrackets, beforePort] = /^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text) ?? [];
  return inBrackets ?? beforePort ?? text;
}

/** The IPv4 address that an IPv6 address carries, however that is written (RFC 4291, section 2.5.5.2). */
function mappedV4(groups: readonly number[]): string | undefined {
  const [high = 0, low = 0] = groups.slice(6);
  const isMapped = groups.slice(0, 6).every((group, index) => group === (index === 5 ? 0xffff : 0));
  return isMapped ? `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}` : undefined;
}

function isPrivateV4(text: string): boolean {
  const [a = 0, b = 0] = text.split(".").map(Number);
  return (
    a === 127 ||
    a === 10 ||
    (a === 172 && b >= 16 && b <= 31) ||
    (a === 192 && b === 168) ||
    (a === 169 && b === 254) ||
    (a === 100 && b >= 64 && b <= 127)
  );
}

/** The eight groups of an IPv6 address (RFC 4291, section 2.2); undefined for anything else. */
function groupsOf(text: string): number[] | undefined {
  if (!text.includes(":") || text.length > 45) return undefined;
  const halves = text.replace(/(?<=:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/, asGroups).split("::");
  if (halves.length > 2) return undefined;
  const [head = [], tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const zeros = tail === undefined ? [] : new Array<string>(missing).fill("0");
  const groups = [...head, ...zeros, ...(tail ?? [])];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  return groups.map((group) => Number.parseInt(group, 16));
}

/** Its last two may be written as an IPv4 address. */
function asGroups(_: string, ...bytes: readonly string[]): string {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
  if (Math.max(a, b, c, d) > 255) return "no address";
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

/** The address that a proxy of ours has put behind whatever its client said before: the last of a list. */
export function addressFromHeader(value: string): string {
  return value.slice(value.lastIndexOf(",") + 1).trim();
}
