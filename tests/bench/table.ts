import { coreShareMin, type Figure, type Unit } from "./figure.ts";
import type { Spread } from "./pace.ts";

const heads = [
  "measure",
  "ours",
  "reference",
  "ratio (min–max)",
  "CPU µs/op",
  "CPU ratio (min–max)",
  "goal",
  "met",
];

/** Rows as text, columns aligned. */
export function tableOf(figures: readonly Figure[]): string {
  const rows = [heads, ...figures.map(cellsOf)];
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

function cellsOf(figure: Figure): string[] {
  const { measure, unit, against, goal, cpuMicrosPerOperation: cpu, cpuRatio } = figure;
  return [
    measure,
    quantity(figure.ours, unit),
    `${quantity(figure.reference, unit)} ${against}`,
    spread(figure.ratio),
    cpu ? `${digits(cpu.ours)} / ${digits(cpu.reference)}` : "–",
    cpuRatio ? spread(cpuRatio) : "–",
    goal?.text ?? "–",
    goal === undefined ? "–" : goal.isMet ? "yes" : "NO",
  ];
}

/** Rates that something else than the servers' core held back: they say less than they seem. */
export function remarksOn(figures: readonly Figure[]): string[] {
  return figures.flatMap(({ measure, coreShare: share }) => {
    if (share === undefined || Math.min(share.ours, share.reference) >= coreShareMin) return [];
    const [ours, reference] = [percent(share.ours), percent(share.reference)];
    return `${measure}: servers used ${ours} (ours) and ${reference} (reference) of their core; compare CPU µs/op.`;
  });
}

function quantity(value: number, unit: Unit): string {
  // Several things may share one frame.
  if (unit === "frames") return `${value.toFixed(2)} ${unit}`;
  const isWhole = unit === "/s" || unit === "B" || unit === "messages";
  const text = isWhole ? Math.round(value).toLocaleString("en-US") : value.toFixed(1);
  return unit === "/s" ? `${text}/s` : `${text} ${unit}`;
}

function spread({ median, min, max }: Spread): string {
  return `${digits(median)} (${digits(min)}–${digits(max)})`;
}

function digits(value: number): string {
  return value.toFixed(value >= 20 ? 1 : 2);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
