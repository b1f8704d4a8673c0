/** What the hosts of tests, loads and measurements take for their operator's. */
export const adminToken = "a-token-that-only-tests-use";
