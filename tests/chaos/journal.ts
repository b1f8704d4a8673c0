/** What was done to processes, and when; for whoever looks for the cause of what went wrong. */
export class Journal {
  readonly lines: string[] = [];
  /** When something was done, or went on. */
  readonly upheavalsAtMs: number[] = [];
  #latest = "nothing yet";

  get latest(): string {
    return this.#latest;
  }

  note(what: string): void {
    this.#latest = what;
    this.disturb();
    this.lines.push(`${performance.now().toFixed(0)} ms: ${what}`);
  }

  /** Something goes on that those who listen may notice. */
  disturb(): void {
    this.upheavalsAtMs.push(performance.now());
  }
}
