import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readLockFile } from "../../apps/cli/lock-file.ts";

const root = join(import.meta.dir, "../..");

async function run(script: string, env: Record<string, string> = {}, ...more: readonly string[]) {
  const child = Bun.spawn([process.execPath, `apps/cli/${script}.ts`, ...more], {
    ...{ cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    env: { ...process.env, ...env },
  });
  const [output, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, output, complaint };
}

interface Component {
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly scope: string;
  readonly licenses: readonly { readonly license?: { readonly id: string }; readonly expression?: string }[];
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
}
interface Bill {
  readonly metadata: { readonly component: { readonly "bom-ref": string } };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

async function billOf(...more: readonly string[]): Promise<Bill> {
  const { code, output, complaint } = await run("sbom", {}, ...more);
  expect([code, complaint]).toEqual([0, ""]);
  return JSON.parse(output);
}

describe("the software bill of materials", () => {
  test("has every package of the lock file with its version, licence and hash, and nothing else", async () => {
    const { components } = await billOf();
    const { packages } = await readLockFile(root);
    const named = (list: readonly { readonly name: string; readonly version: string }[]) =>
      list.map(({ name, version }) => `${name} ${version}`).sort();
    expect(named(components)).toEqual([...new Set(named(packages))]);
    expect(components.length).toBeGreaterThan(50);
    for (const { name, licenses, hashes } of components) {
      const [license] = licenses;
      expect([name, license?.license?.id ?? license?.expression ?? ""]).toEqual([
        name,
        expect.stringMatching(/^[\w(][\w. ()+-]*$/),
      ]);
      expect([name, ...hashes]).toEqual([
        name,
        { alg: "SHA-512", content: expect.stringMatching(/^[0-9a-f]{128}$/) },
      ]);
    }
  });

  test("goes into a file, and says in a line what is in it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sbom-"));
    const file = join(folder, "new", "sbom.cdx.json");
    const { code, output, complaint } = await run("sbom", {}, "--out", file);
    expect([code, complaint]).toEqual([0, ""]);
    const { components }: Bill = await Bun.file(file).json();
    await rm(folder, { recursive: true });
    const required = components.filter(({ scope }) => scope === "required").length;
    expect(output).toContain(
      `${file}: ${components.length} packages, ${required} of them in what a host runs; licences: MIT `,
    );
  });

  test("leads from the project to each of them, and to nothing that it does not have", async () => {
    const { components, dependencies, metadata } = await billOf();
    const refs = components.map((each) => each["bom-ref"]);
    expect(new Set(refs).size).toBe(refs.length);
    const self = metadata.component["bom-ref"];
    const next = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    const reached = new Set([self]);
    for (const ref of reached) for (const one of next.get(ref) ?? []) reached.add(one);
    expect([...reached].sort()).toEqual([self, ...refs].sort());
  });

  test("knows what a host runs from what only its authors need, and says the same each time", async () => {
    const [all, ofHosts, again] = await Promise.all([billOf(), billOf("--production"), billOf()]);
    expect(again).toEqual(all);
    const scopes = new Map(all.components.map(({ name, scope }) => [name, scope]));
    expect(
      ["elysia", "msgpackr", "libsql", "typescript", "@biomejs/biome"].map((name) => scopes.get(name)),
    ).toEqual(["required", "required", "required", "excluded", "excluded"]);
    const model = await Bun.file(join(root, "infra/SECURITY.md")).text();
    expect(model).toContain(`${ofHosts.components.length} packages are in what a host runs`);
    expect(ofHosts.components).toEqual(all.components.filter(({ scope }) => scope === "required"));
  });
});

describe("the audit of packages", () => {
  /** A registry that has this to say of the packages that it is asked about. */
  async function audited(known: Readonly<Record<string, unknown>>, status = 200) {
    const registry = Bun.serve({
      port: 0,
      async fetch(request) {
        const asked: object = JSON.parse(gunzipSync(await request.arrayBuffer()).toString());
        const answer = Object.entries(known).filter(([name]) => Object.hasOwn(asked, name));
        return Response.json(Object.fromEntries(answer), { status });
      },
    });
    try {
      return await run("audit", askingAt(registry.url.href));
    } finally {
      await registry.stop(true);
    }
  }
  const askingAt = (url: string) => ({ BUN_CONFIG_REGISTRY: url, npm_config_registry: url });
  const fault = (name: string, severity: string) => ({
    [name]: [
      {
        id: 1,
        title: "It breaks",
        url: "https://advisories.example/1",
        severity,
        vulnerable_versions: "<99.0.0",
        cwe: [],
        cvss: { score: 8 },
      },
    ],
  });

  test("passes where nothing is known", async () => {
    expect(await audited({})).toMatchObject({
      code: 0,
      output: "No package has a fault that is known.\n",
    });
  });

  test("fails for what is grave in what a host runs, and names it", async () => {
    const { code, output } = await audited(fault("elysia", "high"));
    expect([code, output]).toEqual([
      1,
      expect.stringContaining("high      elysia <99.0.0: It breaks (https://advisories.example/1)"),
    ]);
  });

  test.each([fault("elysia", "moderate"), fault("@biomejs/biome", "critical")])(
    "tells of the rest, and passes: %j",
    async (known) => {
      const { code, output } = await audited(known);
      expect([code, output]).toEqual([0, expect.stringContaining("It breaks")]);
    },
  );

  test("says that it did not take place where the registry does not answer so, and passes", async () => {
    const { code, output } = await audited({}, 405);
    expect([code, output]).toEqual([0, expect.stringContaining("NOT AUDITED")]);
    const gone = Bun.serve({ port: 0, fetch: () => new Response() });
    await gone.stop(true);
    const unreachable = await run("audit", askingAt(gone.url.href));
    expect(unreachable).toMatchObject({ code: 0, output: expect.stringContaining("NOT AUDITED") });
  });
});
