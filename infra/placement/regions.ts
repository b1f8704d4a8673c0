/**
 * Where regions are. The codes are Fly.io's (airport codes); the coordinates are those that Fly's API gives for
 * `platform.regions { code name latitude longitude }`, taken from a public client of that API in August 2026 and not
 * read live. Some are those of the city's airport: good to some tens of kilometres, which is enough for a first guess
 * that measured round trips replace.
 *
 * A host may run in a region that is not listed here: see rule P4 in README.md for what that costs.
 */
export interface Region {
  readonly code: string;
  readonly city: string;
  /** Degrees, north positive. */
  readonly latitude: number;
  /** Degrees, east positive. */
  readonly longitude: number;
}

/** Regions where a machine can be started today. */
export const currentRegions: readonly Region[] = [
  { code: "ams", city: "Amsterdam, Netherlands", latitude: 52.374342, longitude: 4.895439 },
  { code: "arn", city: "Stockholm, Sweden", latitude: 59.6512, longitude: 17.9178 },
  { code: "bom", city: "Mumbai, India", latitude: 19.097403, longitude: 72.874245 },
  { code: "cdg", city: "Paris, France", latitude: 48.860875, longitude: 2.353477 },
  { code: "dfw", city: "Dallas, Texas (US)", latitude: 32.778287, longitude: -96.7984 },
  { code: "ewr", city: "Secaucus, NJ (US)", latitude: 40.789543, longitude: -74.05653 },
  { code: "fra", city: "Frankfurt, Germany", latitude: 50.1167, longitude: 8.6833 },
  { code: "gru", city: "São Paulo, Brazil", latitude: -23.549664, longitude: -46.65435 },
  { code: "iad", city: "Ashburn, Virginia (US)", latitude: 39.02214, longitude: -77.462556 },
  { code: "jnb", city: "Johannesburg, South Africa", latitude: -26.13629, longitude: 28.20298 },
  { code: "lax", city: "Los Angeles, California (US)", latitude: 33.9416, longitude: -118.4085 },
  { code: "lhr", city: "London, United Kingdom", latitude: 51.516434, longitude: -0.125656 },
  { code: "nrt", city: "Tokyo, Japan", latitude: 35.62161, longitude: 139.74185 },
  { code: "ord", city: "Chicago, Illinois (US)", latitude: 41.891544, longitude: -87.63039 },
  { code: "sin", city: "Singapore", latitude: 1.3, longitude: 103.8 },
  { code: "sjc", city: "San Jose, California (US)", latitude: 37.3516, longitude: -121.89674 },
  { code: "syd", city: "Sydney, Australia", latitude: -33.86603, longitude: 151.20693 },
  { code: "yyz", city: "Toronto, Canada", latitude: 43.64463, longitude: -79.38423 },
];

/** No longer offered for new machines, but old configurations and edge addresses may still name them. */
export const retiredRegions: readonly Region[] = [
  { code: "atl", city: "Atlanta, Georgia (US)", latitude: 33.6407, longitude: -84.4277 },
  { code: "bog", city: "Bogotá, Colombia", latitude: 4.70159, longitude: -74.1469 },
  { code: "bos", city: "Boston, Massachusetts (US)", latitude: 42.366978, longitude: -71.02236 },
  { code: "den", city: "Denver, Colorado (US)", latitude: 39.7392, longitude: -104.9847 },
  { code: "eze", city: "Ezeiza, Argentina", latitude: -34.8222, longitude: -58.5358 },
  { code: "gdl", city: "Guadalajara, Mexico", latitude: 20.5217, longitude: -103.3109 },
  { code: "gig", city: "Rio de Janeiro, Brazil", latitude: -22.8099, longitude: -43.2505 },
  { code: "hkg", city: "Hong Kong", latitude: 22.25097, longitude: 114.203224 },
  { code: "maa", city: "Chennai, India", latitude: 13.064429, longitude: 80.25307 },
  { code: "mad", city: "Madrid, Spain", latitude: 40.4381, longitude: -3.82 },
  { code: "mia", city: "Miami, Florida (US)", latitude: 25.7877, longitude: -80.2241 },
  { code: "otp", city: "Bucharest, Romania", latitude: 44.4325, longitude: 26.1039 },
  { code: "phx", city: "Phoenix, Arizona (US)", latitude: 33.416084, longitude: -112.00948 },
  { code: "qro", city: "Querétaro, Mexico", latitude: 20.62, longitude: -100.1863 },
  { code: "scl", city: "Santiago, Chile", latitude: -33.36572, longitude: -70.64292 },
  { code: "sea", city: "Seattle, Washington (US)", latitude: 47.6097, longitude: -122.3331 },
  { code: "waw", city: "Warsaw, Poland", latitude: 52.1657, longitude: 20.9671 },
  { code: "yul", city: "Montreal, Canada", latitude: 45.48647, longitude: -73.75549 },
];

const byCode: ReadonlyMap<string, Region> = new Map(
  [...currentRegions, ...retiredRegions].map((region) => [region.code, region]),
);

export function region(code: string): Region | undefined {
  return byCode.get(code);
}
