import { closeSync, openSync } from 'node:fs'

const OWNER_ONLY = 0o600

/**
 * The file behind a path as SQLite takes it, which may be a `file:` URI; undefined for a database
 * in memory.
 */
export function fileOf(path: string): string | undefined {
  if (!path.startsWith('file:')) return path === ':memory:' ? undefined : path
  const [name = '', query = ''] = path.slice('file:'.length).split('#')[0]?.split('?') ?? []
  const plain = name.replace(/^\/\/(?:localhost)?(?=\/)/, '')
  if (plain === '' || plain === ':memory:' || /(?:^|&)mode=(?:memory|ro)\b/.test(query))
    return undefined
  try {
    return decodeURIComponent(plain)
  } catch {
    return undefined
  }
}

/**
 * Makes a database file that does not exist yet, for its owner only, since it holds the bodies of
 * messages; SQLite gives the files of its log the same mode. A file that exists keeps its mode.
 */
export function makePrivate(path: string): void {
  const file = fileOf(path)
  if (file === undefined) return
  try {
    // 'wx' fails if somebody else makes it at the same moment.
    closeSync(openSync(file, 'wx', OWNER_ONLY))
  } catch {
    // It exists, or it cannot be made: SQLite, which opens it next, says why.
  }
}
