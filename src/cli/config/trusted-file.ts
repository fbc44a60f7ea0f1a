import { lstatSync, realpathSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Bit of a mode: everybody may write. */
const WRITABLE_BY_ALL = 0o002

/**
 * Why this file must not be run only because it was found: somebody else may have put it there.
 * Undefined: it may be run.
 *
 * Trusted are the user of this process, root, and the owner of this program, whose code runs at
 * this moment anyway (root in a container, with the files of the project's user). Windows has no
 * such owners.
 */
export function distrust(
  file: string,
  user: number | undefined = process.getuid?.(),
): string | undefined {
  if (user === undefined) return undefined
  const trusted = new Set([user, 0, lstatSync(fileURLToPath(import.meta.url)).uid])
  const real = realpathSync(file)
  // The link itself too: who makes one chooses what is run.
  for (const path of new Set([file, real])) {
    const found = problemOf(path, lstatSync(path), trusted)
    if (found !== undefined) return found
    const folder = dirname(path)
    const around = problemOf(folder, lstatSync(realpathSync(folder)), trusted)
    if (around !== undefined) return around
  }
  return undefined
}

function problemOf(path: string, stats: Stats, trusted: ReadonlySet<number>): string | undefined {
  if (!trusted.has(stats.uid)) return `${path} belongs to another user (uid ${stats.uid})`
  // The mode of a link says nothing.
  if (!stats.isSymbolicLink() && (stats.mode & WRITABLE_BY_ALL) !== 0)
    return `everybody may write to ${path}`
  return undefined
}
