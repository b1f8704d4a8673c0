/** One figure of a host, as a scraper reads it. */
export interface Metric {
  /** `stateful_…`; ends in `_total` for a counter, which begins at 0 with the process. */
  readonly name: string;
  readonly help: string;
  readonly value: number;
}

/** Where an operator asks for them; see `AdminRoutes`. */
export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

/** The text-based exposition format of Prometheus, version 0.0.4. */
export function metricsText(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, help, value }) => {
      const kind = name.endsWith("_total") ? "counter" : "gauge";
      return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${name} ${value}\n`;
    })
    .join("");
}
