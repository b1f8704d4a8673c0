import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const screens = join(tmpdir(), "stateful-objects-screens");

/** `.ci/run` sets it: there a browser that is missing is a failure, elsewhere a reason to skip. */
export const isBrowserRequired = process.env.BROWSER_TESTS === "required";
export const hasBrowser = existsSync(executablePath);
export const howToGetBrowser =
  `There is no browser at ${executablePath}. On Debian: apt-get install --no-install-recommends chromium. ` +
  "Elsewhere name one by CHROMIUM=/path/to/chromium.";

/** Headless, with a profile of its own that is gone when it closes. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    timeout: 30_000,
    args: [
      "--no-sandbox", // Chromium's sandbox does not run as root, which tests in containers are.
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Pictures of the last run, for whoever changes the page. */
export async function takeScreen(page: Page, name: string): Promise<void> {
  await mkdir(screens, { recursive: true });
  await page.screenshot({ path: join(screens, `${name}.png`) });
}
