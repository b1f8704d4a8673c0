import type { Directory } from "../../infra/lease/directory.ts";

export type DirectoryCall = Exclude<keyof Directory, "close">;

/** A directory with a road before it: a test stops calls on their way there, or answers on their way back. */
export class HeldDirectory implements Directory {
  readonly #directory: Directory;
  /** Awaited before the call arrives. Rejecting loses the request. */
  request: (call: DirectoryCall) => Promise<void> = async () => undefined;
  /** Awaited after the call took effect. Rejecting loses the answer. */
  answer: (call: DirectoryCall) => Promise<void> = async () => undefined;
  /** How often each was sent. */
  readonly sent = new Map<DirectoryCall, number>();

  readonly openSession: Directory["openSession"];
  readonly renew: Directory["renew"];
  readonly endSession: Directory["endSession"];
  readonly commit: Directory["commit"];
  readonly find: Directory["find"];
  readonly verify: Directory["verify"];
  readonly forgetLeases: Directory["forgetLeases"];
  readonly read: Directory["read"];
  readonly list: Directory["list"];
  readonly dueAlarms: Directory["dueAlarms"];
  readonly alarms: Directory["alarms"];
  readonly alarmsOf: Directory["alarmsOf"];
  readonly messages: Directory["messages"];

  constructor(directory: Directory) {
    this.#directory = directory;
    this.openSession = (session) => this.#pass("openSession", () => directory.openSession(session));
    this.renew = (renewal) => this.#pass("renew", () => directory.renew(renewal));
    this.endSession = (session) => this.#pass("endSession", () => directory.endSession(session));
    this.commit = (commit) => this.#pass("commit", () => directory.commit(commit));
    this.find = (objects) => this.#pass("find", () => directory.find(objects));
    this.read = (keys) => this.#pass("read", () => directory.read(keys));
    this.list = (range) => this.#pass("list", () => directory.list(range));
    this.dueAlarms = (...args) => this.#pass("dueAlarms", () => directory.dueAlarms(...args));
    this.alarmsOf = (object) => this.#pass("alarmsOf", () => directory.alarmsOf(object));
    this.messages = (...args) => this.#pass("messages", () => directory.messages(...args));
    this.alarms = (...args) => this.#pass("alarms", () => directory.alarms(...args));
    this.forgetLeases = (page) => this.#pass("forgetLeases", () => directory.forgetLeases(page));
    this.verify = (session, leases) => this.#pass("verify", () => directory.verify(session, leases));
  }

  get hasHints(): boolean {
    return this.#directory.hasHints;
  }

  close(): Promise<void> {
    return this.#directory.close();
  }

  async #pass<T>(call: DirectoryCall, arrive: () => Promise<T>): Promise<T> {
    this.sent.set(call, (this.sent.get(call) ?? 0) + 1);
    await this.request(call);
    const answer = await arrive();
    await this.answer(call);
    return answer;
  }
}
