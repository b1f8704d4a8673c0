/**
 * Asks the registry which of the packages in `bun.lock` have known faults (`bun audit`), and says what it answers:
 *
 *     bun run audit
 *
 * The exit code is 1 where a package that a host runs has a fault that is high or critical. Where the registry cannot be asked,
 * as on a machine without a network, that is said, and nothing fails for it: nobody's change is worse for that.
 */
interface Advisory {
  readonly title: string;
  readonly url: string;
  readonly severity: string;
  readonly vulnerable_versions: string;
}
type Advisories = Readonly<Record<string, readonly Advisory[]>>;

/** `bun audit` tries again and again for longer than anybody wants to wait. */
const limitMs = 20_000;
const failsFor = new Set(["high", "critical"]);

/** What is known, by the package; or why nobody could be asked. */
async function audit(...more: readonly string[]): Promise<Advisories | string> {
  const child = Bun.spawn([process.execPath, "audit", "--json", ...more], {
    ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    timeout: limitMs,
  });
  const [output, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  try {
    return JSON.parse(output);
  } catch {
    return complaint.trim() || `no answer within ${limitMs / 1000} s`;
  }
}

function lines(found: Advisories): string[] {
  return Object.entries(found).flatMap(([name, advisories]) =>
    advisories.map(
      ({ severity, title, url, vulnerable_versions: versions }) =>
        `  ${severity.padEnd(9)} ${name} ${versions}: ${title} (${url})`,
    ),
  );
}

async function main(): Promise<number> {
  const [all, ofHosts] = await Promise.all([audit(), audit("--production")]);
  const unreachable = [all, ofHosts].find((answer) => typeof answer === "string");
  if (typeof all === "string" || typeof ofHosts === "string") {
    console.log(
      `NOT AUDITED: the registry could not be asked for known faults of packages (${unreachable}).`,
    );
    return 0;
  }
  const known = lines(all);
  if (known.length === 0) {
    console.log("No package has a fault that is known.");
    return 0;
  }
  const grave = Object.values(ofHosts)
    .flat()
    .filter(({ severity }) => failsFor.has(severity));
  console.log(["Known faults of packages:", ...known].join("\n"));
  if (grave.length > 0) console.log(`${grave.length} of them are grave, and in what a host runs.`);
  return grave.length > 0 ? 1 : 0;
}

main().then((code) => process.exit(code));
