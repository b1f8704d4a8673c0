import { type Region, region } from "./regions.ts";

/**
 * How far apart two regions are, until the links have measured it. The estimate is
 *
 *     round trip = sameRegionMs + 2 × kilometres ÷ fibreKmPerMs × pathInflation
 *
 * Light covers about 200 km per ms in glass, two thirds of its speed in vacuum. No cable follows the great circle and no
 * route follows one cable, so the path is longer: 1.4 times is what well-connected pairs show (Ashburn to Amsterdam
 * 88 ms by this formula, 80 to 90 in practice). Badly connected pairs are underestimated (Amsterdam to Tokyo goes around a
 * continent); this is why a measured figure always wins (rule P3).
 */
export const fibreKmPerMs = 200;
export const pathInflation = 1.4;

/** What any round trip costs, however short the way: two event loops, two kernels, a switch. */
export const sameRegionMs = 1;

/** Between two regions of which one is not in the table: more than any two that are in it, so that they come last. */
export const unknownDistanceMs = 300;

const earthRadiusKm = 6371;

/** Estimated round trip. A region is near to itself even if nobody knows where it is. */
export function estimatedRoundTripMs(fromCode: string, toCode: string): number {
  if (fromCode === toCode) return sameRegionMs;
  const from = region(fromCode);
  const to = region(toCode);
  if (!from || !to) return unknownDistanceMs;
  return knownRoundTripMs(from, to);
}

/** Between regions of the table, so at most as many as it has pairs. A drain asks for these some million times. */
const known = new Map<Region, Map<Region, number>>();

function knownRoundTripMs(from: Region, to: Region): number {
  const fromHere = known.get(from) ?? new Map<Region, number>();
  const knownMs = fromHere.get(to);
  if (knownMs !== undefined) return knownMs;
  const roundTripMs = sameRegionMs + ((2 * greatCircleKm(from, to)) / fibreKmPerMs) * pathInflation;
  known.set(from, fromHere.set(to, roundTripMs));
  return roundTripMs;
}

type Coordinates = Pick<Region, "latitude" | "longitude">;

/** The shortest way over the globe (haversine; the Earth as a sphere, at most 0.6 % off). */
export function greatCircleKm(from: Coordinates, to: Coordinates): number {
  const halfLatitude = Math.sin(radians(to.latitude - from.latitude) / 2);
  const halfLongitude = Math.sin(radians(to.longitude - from.longitude) / 2);
  const cosines = Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude));
  const haversine = halfLatitude ** 2 + cosines * halfLongitude ** 2;
  // Between antipodes rounding can take it past 1, where asin is not a number.
  return 2 * earthRadiusKm * Math.asin(Math.sqrt(Math.min(1, haversine)));
}

function radians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}
