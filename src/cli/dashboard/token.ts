import { randomBytes } from 'node:crypto'

/** 192 random bits, as text for a link. */
export const newToken = (): string => randomBytes(24).toString('base64url')
