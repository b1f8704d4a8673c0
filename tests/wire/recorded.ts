import { join } from "node:path";
import type { Sample } from "./samples.ts";

/** What hosts of each version have written: one file for each version, which is never written again once it was released. */
const folder = join(import.meta.dir, "../fixtures/wire");

type Payload = Uint8Array | string;

/** By the name of the sample. */
export type Recorded = ReadonlyMap<string, Payload>;

interface RecordedForm {
  readonly text?: string;
  /** Base64. */
  readonly bytes?: string;
}

export function fileOf(version: number): string {
  return join(folder, `${version}.json`);
}

export async function readRecorded(version: number): Promise<Recorded> {
  const forms: Record<string, RecordedForm> = await Bun.file(fileOf(version)).json(); // written by `writeRecorded`
  return new Map(
    Object.entries(forms).map(([name, { text, bytes = "" }]) => [name, text ?? Uint8Array.fromBase64(bytes)]),
  );
}

export async function writeRecorded(version: number, samples: readonly Sample[]): Promise<void> {
  const written = samples
    .filter(({ since }) => since <= version)
    .map((sample): [string, RecordedForm] => [sample.name, formOf(sample.write(version))]);
  await Bun.write(fileOf(version), `${JSON.stringify(Object.fromEntries(written), null, 2)}\n`);
}

function formOf(payload: Payload): RecordedForm {
  return typeof payload === "string" ? { text: payload } : { bytes: payload.toBase64() };
}
