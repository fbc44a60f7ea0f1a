import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { checkOptions, invalidOption } from '../core/options.ts'
import type { BodyStore } from './bodies.ts'

export interface FileBodiesOptions {
  /** Made when the first body is stored. All senders and receivers must see the same one. */
  readonly directory: string
}

const DAY = /^\d{4}-\d\d-\d\d$/

/**
 * Keeps bodies as files, each day in a folder of its own. A body is on the disk before `put`
 * resolves, and appears under its name as a whole. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function fileBodies(options: FileBodiesOptions): BodyStore {
  checkOptions('fileBodies', options, ['directory'])
  const { directory } = options
  if (typeof directory !== 'string' || directory === '')
    throw invalidOption('fileBodies.directory', 'expected the path of a folder')
  return {
    put: (key, body) => write(join(directory, key), body),
    get: (key, { signal }) => readIfThere(join(directory, key), signal),
    prune: (beforeDay) => removeDays(directory, beforeDay),
  }
}

async function write(path: string, body: Uint8Array): Promise<void> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true })
  const unfinished = `${path}.${randomUUID()}`
  try {
    const file = await open(unfinished, 'wx')
    try {
      await file.writeFile(body)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  await syncFolder(folder)
  await syncFolder(dirname(folder))
}

/** The names in a folder are durable only after this. Windows has no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function readIfThere(path: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path, { signal })
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    // A folder that is missing as a whole is rather not mounted than empty.
    await readdir(dirname(dirname(path)))
    return undefined
  }
}

async function removeDays(directory: string, beforeDay: string): Promise<number> {
  const days = (await readdir(directory)).filter((name) => DAY.test(name) && name < beforeDay)
  for (const day of days) await rm(join(directory, day), { recursive: true, force: true })
  return days.length
}
