/** Memory of the device that all programs share: the count of bad indices, room for partial results, counters that are zero between launches. */
export type Shared = 'bad' | 'workspace' | 'tickets';

/** Elements that the shared memory has at least. */
export const WORKSPACE_FLOATS = 8 << 20;
export const TICKETS = 1 << 14;

/** Blocks that the second and third axis of a grid may have, on every GPU. */
export const MAX_BLOCKS_Y = 65535;
