import type { Endpoints } from "./endpoints.ts";
import type { HeadersSource, Settings } from "./options.ts";
import type { Surroundings } from "./surroundings.ts";

/** What all parts of one client share. */
export interface ClientContext {
  readonly endpoints: Endpoints;
  readonly headers: HeadersSource | undefined;
  readonly settings: Settings;
  readonly around: Surroundings;
}
