/**
 * The directory was migrated to what this build does not know, or asks for (rule L12). To start it again is of no use: the
 * supervisor does not, and whoever watches it should tell this from a crash. EX_CONFIG of sysexits.h.
 */
export const outdatedExitCode = 78;
