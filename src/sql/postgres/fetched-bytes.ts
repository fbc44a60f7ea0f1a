/**
 * `pg` reads a body as hexadecimal text, two characters for each byte, and V8 makes no text with
 * more than 2^29 - 24 characters: above that the client throws outside of any promise, which ends
 * the process.
 */
export const MOST_FETCHED_BYTES: number = 240 * 1024 * 1024
