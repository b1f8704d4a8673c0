import { elapsedMsMax } from "./directory.ts";

/**
 * The directory's time (L3), and what has passed on the clock since the latest write. It never falls, so what has expired stays
 * expired. While it is ahead of a clock that was set back it goes on at half the clock's pace, or slower, until the clock has caught
 * up: it must not run faster than hosts count, and were it to stand still, no dead host would be missed until then. `ahead` is by how
 * much it was ahead at the latest write; whatever is missing of that now has passed since. Once the clock has caught up it is the
 * time, whatever `ahead` says: a host of an earlier release, which does not know of it, may have written last.
 *
 * @param ahead 'NULL' where the table has no such column yet
 */
export const directoryTime = (ahead = "ahead") => `(
    SELECT CASE WHEN clock >= now THEN clock ELSE now + elapsed / 2 END AS now, clock, elapsed FROM (
      SELECT now, clock, min(${elapsedMsMax}, max(0, coalesce(${ahead}, 0) - now + clock)) AS elapsed
      FROM directory, (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS clock)))`;
