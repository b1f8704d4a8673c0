export {
  ConfigError,
  configDefaults,
  configFromEnvironment,
  devAdminToken,
  type ServerConfig,
} from "./config.ts";
export { type HostOptions, RunningHost, startHost } from "./host.ts";
