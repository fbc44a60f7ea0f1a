import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

export const root: string = join(import.meta.dirname, '../..')
export const file: string = join(import.meta.dirname, 'durations.json')

/** Milliseconds that each file of tests took when `npm run test:durations` ran last. */
const recorded = JSON.parse(readFileSync(file, 'utf8')) as Readonly<Record<string, number>>

/** What a file that came later is taken for. */
const UNKNOWN_MS = 2000

/** `path` is absolute. */
export function durationOf(path: string): number {
  return recorded[relative(root, path)] ?? UNKNOWN_MS
}
