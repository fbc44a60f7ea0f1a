import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MersalError } from '../../../core/errors/errors.ts'
import { printable } from '../../../lib/text.ts'
import { storeError } from './failure.ts'
import type { ConnectionSettings } from '../options.ts'
import { fileOf } from './private-file.ts'

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function kindOf(path: string): 'file' | 'folder' | 'other' | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return undefined
  return found.isDirectory() ? 'folder' : found.isFile() ? 'file' : 'other'
}

function user(): string {
  const id = process.geteuid?.()
  return id === undefined ? 'this user' : `user ${id}`
}

/**
 * Which file or folder stands in the way of a database file, and what is missing; undefined if
 * these are in order.
 */
export function accessProblem(path: string): string | undefined {
  const file = resolve(path)
  const folder = dirname(file)
  const named = (name: string): string => `'${printable(name, 1000)}'`
  try {
    if (kindOf(file) === 'folder') return `${named(file)} is a folder; name a file in it`
    if (kindOf(folder) === undefined) return `the folder ${named(folder)} does not exist; make it`
    if (kindOf(folder) !== 'folder') return `${named(folder)} is no folder; name another file`
    if (kindOf(file) !== undefined) {
      if (!may(file, constants.R_OK))
        return `${user()} may not read the file ${named(file)}; grant it read and write`
      if (!may(file, constants.W_OK))
        return `${user()} may not write the file ${named(file)}; grant it write`
    }
    // SQLite makes the files of its log there.
    if (!may(folder, constants.W_OK | constants.X_OK))
      return `${user()} may not make files in the folder ${named(folder)}, where SQLite keeps the log of the database as well; grant it write and search`
  } catch {
    return `${user()} may not look into the folder ${named(folder)}; grant it read, write and search`
  }
  return undefined
}

/**
 * As `storeError`, with the file or folder that is in the way if the rights of the file system are.
 */
export function openingError(
  doing: string,
  cause: unknown,
  { source }: Pick<ConnectionSettings, 'source'>,
): MersalError {
  const error = storeError(doing, cause)
  if (
    !('path' in source) ||
    (error.code !== 'MERSAL_STORE_FAILED' && error.code !== 'MERSAL_STORE_UNSAFE')
  )
    return error
  const file = fileOf(source.path)
  const problem = file === undefined ? undefined : accessProblem(file)
  if (problem === undefined) return error
  return new MersalError('MERSAL_STORE_FAILED', `${doing}: ${problem}`, { cause: error })
}
