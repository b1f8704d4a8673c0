export { ConfigError, configDefaults, configFromEnvironment, type ServerConfig } from "./config.ts";
export { type HostOptions, RunningHost, startHost } from "./host.ts";
