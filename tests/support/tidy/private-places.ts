/** What a line says that is true on one machine only, in words; undefined where there is nothing. */
export function privatePlaceIn(file: string, line: string): string | undefined {
  for (const [pattern, what] of machinePaths) {
    const found = pattern.exec(line);
    if (found) return `${what}: ${found[0]}`;
  }
  const isAboutRegistry = /(?:^|\/)(?:bun\.lock|package-lock\.json|\.npmrc|bunfig\.toml)$/.test(file);
  if (!isAboutRegistry && !/registry/i.test(line)) return undefined;
  if (/_(?:authToken|password)/.test(line)) return "a registry's credentials";
  for (const [url, host] of line.matchAll(/https?:\/\/([^/\s"'`<>)\]]+)/g)) {
    if (!linkedHosts.has(host ?? "")) return `the host of a registry: ${url}`;
  }
  return undefined;
}

const machinePaths: readonly (readonly [RegExp, string])[] = [
  [/(?<![\w.~}-])\/(?:home|Users|root|work|mnt|media)\/[\w.-]+/, "an absolute path of one machine"],
  [/\b[A-Z]:\\+Users\\+\w+/i, "an absolute path of one machine"],
  [/\b[\w-]+\.(?:jfrog\.io|pkg\.dev|codeartifact\.[\w-]+\.amazonaws\.com)\b/, "a private registry"],
  [/\b(?:artifactory|verdaccio|nexus)\.[\w.-]+/i, "a private registry"],
];

/** What a line about packages may link to. Where they come from is the business of whoever installs them. */
const linkedHosts = new Set(["github.com"]);
