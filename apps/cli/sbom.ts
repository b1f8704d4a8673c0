import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { type LockedPackage, readLockFile, reachedFrom } from "./lock-file.ts";

/**
 * The software bill of materials: every package in `bun.lock` with its version, licence and hash, and what asks for what, as
 * CycloneDX 1.6 in JSON. The same lock file gives the same bytes.
 *
 *     bun run --silent sbom > sbom.cdx.json
 *     bun run --silent sbom --production     only what a host runs
 *     bun run sbom --out data/sbom.cdx.json  into a file, and one line about it; a part of the check
 *
 * Licences are those that the installed packages state. A package for another system is not installed here: it has the licence
 * of the package whose part it is, and says so. Exit code 1, and no bill, where something is missing.
 */
const root = join(import.meta.dir, "../..");

interface Component {
  readonly type: "library";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly scope: "required" | "excluded";
  readonly licenses: readonly License[];
  readonly hashes: readonly { readonly alg: "SHA-512"; readonly content: string }[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
}

interface Bill extends Readonly<Record<string, unknown>> {
  readonly components: readonly Component[];
}

async function bill(isProductionOnly: boolean): Promise<Bill> {
  const { packages, direct } = await readLockFile(root);
  const run = reachedFrom(direct.toRun, packages);
  const listed = isProductionOnly ? packages.filter(({ path }) => run.has(path)) : packages;
  const components = await Promise.all(listed.map((one) => componentOf(one, run.has(one.path), packages)));
  const refs = new Map(packages.map((one) => [one.path, refOf(one)]));
  const wanted = isProductionOnly ? direct.toRun : [...direct.toRun, ...direct.toDevelop];
  const { name, version, license } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const self = `pkg:npm/${name}@${version}`;
  const dependsOn = (paths: readonly string[]) =>
    [...new Set(paths.flatMap((path) => refs.get(path) ?? []))].sort();
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": self,
        name,
        version,
        purl: self,
        licenses: licensesOf(license),
      },
    },
    components: components.sort((a, b) => (a.purl < b.purl ? -1 : 1)),
    dependencies: [
      { ref: self, dependsOn: dependsOn(wanted) },
      ...listed.map((one) => ({ ref: refOf(one), dependsOn: dependsOn(one.dependencies) })),
    ],
  };
}

async function componentOf(
  one: LockedPackage,
  isRun: boolean,
  all: readonly LockedPackage[],
): Promise<Component> {
  const { path, name, version, integrity } = one;
  const own = await licenseOf(path);
  const whole =
    own === undefined && one.isForOneSystem
      ? all.find(({ dependencies }) => dependencies.includes(path))
      : undefined;
  const license = own ?? (whole && (await licenseOf(whole.path)));
  if (license === undefined) throw new Error(`${name} ${version} states no licence; is it installed?`);
  const [algorithm, hash = ""] = integrity.split("-", 2);
  if (algorithm !== "sha512" || hash === "")
    throw new Error(`${name} ${version} has no SHA-512 in bun.lock.`);
  return {
    ...{ type: "library", "bom-ref": refOf(one), name, version, purl: refOf(one) },
    scope: isRun ? "required" : "excluded",
    licenses: licensesOf(license),
    hashes: [{ alg: "SHA-512", content: Buffer.from(hash, "base64").toString("hex") }],
    ...(whole && { properties: [{ name: "stateful-objects:licence-of", value: whole.name }] }),
  };
}

/** Package URL, of which a scope's `@` is encoded. */
function refOf({ name, version }: LockedPackage): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

/** As the installed package states it. Undefined where it is not installed, or states none. */
async function licenseOf(path: string): Promise<string | undefined> {
  const manifest = await readFile(join(root, folderOf(path), "package.json"), "utf8").catch(() => undefined);
  if (manifest === undefined) return undefined;
  const { license, licenses } = JSON.parse(manifest);
  if (typeof license === "string") return license;
  // The old form.
  const [first] = Array.isArray(licenses) ? licenses : [license];
  return typeof first?.type === "string" ? first.type : undefined;
}

/** Scoped names have two segments: `a/@b/c` is `node_modules/a/node_modules/@b/c`. */
function folderOf(path: string): string {
  const names = path.match(/@[^/]+\/[^/]+|[^/]+/g) ?? [];
  return names.map((name) => join("node_modules", name)).join("/");
}

type License = { readonly expression: string } | { readonly license: { readonly id: string } };

/** An SPDX expression where it is one of several; else its id. */
function licensesOf(license: string): readonly License[] {
  return /[ ()]/.test(license) ? [{ expression: license }] : [{ license: { id: license } }];
}

function nameOfLicense(license: License): string {
  return "expression" in license ? license.expression : license.license.id;
}

/** How many packages, how many of them a host runs, and under which licences, the most frequent first. */
function summaryOf({ components }: Bill): string {
  const counts = new Map<string, number>();
  for (const { licenses } of components) {
    const name = licenses.map(nameOfLicense).join(" ");
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const byCount = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name} ${count}`);
  const required = components.filter(({ scope }) => scope === "required").length;
  return `${components.length} packages, ${required} of them in what a host runs; licences: ${byCount.join(", ")}`;
}

try {
  const { values } = parseArgs({ options: { production: { type: "boolean" }, out: { type: "string" } } });
  const made = await bill(values.production === true);
  const text = `${JSON.stringify(made, null, 2)}\n`;
  if (values.out === undefined) process.stdout.write(text);
  else {
    await mkdir(dirname(values.out), { recursive: true });
    await writeFile(values.out, text);
    console.log(`software bill of materials in ${values.out}: ${summaryOf(made)}`);
  }
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
