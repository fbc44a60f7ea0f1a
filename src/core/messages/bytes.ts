/**
 * A claim, a fetch or a page of dead letters ends after about this many bytes, so that memory stays
 * bounded.
 */
export const CLAIM_BYTES: number = 32 * 1024 * 1024

/** A row with more bytes than this is not read at all, unless a transport takes larger messages. */
export const LARGEST_ROW_BYTES: number = 64 * 1024 * 1024
