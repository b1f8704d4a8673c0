import { join } from "node:path";
import { problem, StatefulError } from "../../infra/lib/errors.ts";

/** Where a host serves the SDK. */
export const clientScriptPath = "/-/client.js";

interface Script {
  readonly code: string;
  readonly entityTag: string;
}

/**
 * The SDK as one module, for pages that a host serves itself and that have no bundler: `import { connect } from "/-/client.js"`.
 * Bundled from its source when it is asked for first; browsers keep it, and ask whether it is still the same.
 */
export class ClientScript {
  #built: Promise<Script> | undefined;

  async answer(request: Request): Promise<Response> {
    if (request.method !== "GET" && request.method !== "HEAD")
      return problem(
        new StatefulError("not_found", `Only GET and HEAD are answered at ${clientScriptPath}.`),
      );
    this.#built ??= build();
    const { code, entityTag } = await this.#built;
    const headers = { etag: entityTag, "cache-control": "no-cache" };
    if (request.headers.get("if-none-match")?.includes(entityTag))
      return new Response(null, { status: 304, headers });
    return new Response(code, {
      headers: {
        ...headers,
        "content-type": "text/javascript; charset=utf-8",
        "x-content-type-options": "nosniff",
      },
    });
  }
}

async function build(): Promise<Script> {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, "../client/index.ts")],
    target: "browser",
    minify: true,
  });
  const code = await outputs[0]?.text();
  if (code === undefined) throw new StatefulError("internal", "The client was bundled into no file.");
  return { code, entityTag: `"${Bun.hash(code).toString(36)}"` };
}
