import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { checkBoolean, checkOptions, invalidOption } from '../core/options.ts'
import type { BodyStore } from './bodies.ts'
import { anotherFolder, makeMark, readMark, syncFolder } from './folder-mark.ts'

/** Options of `fileBodies()`. */
export interface FileBodiesOptions {
  /** A folder that all senders and receivers see. */
  readonly directory: string
  /**
   * Whether the first body makes the folder and its mark `.mersal-bodies`. Default true. With false
   * nothing is stored in a folder without a mark: choose it for a disk that is mounted, and write
   * the mark, a file with a UUID, yourself.
   */
  readonly create?: boolean
}

const DAY = /^\d{4}-\d\d-\d\d$/

/**
 * Keeps bodies as files, each day in a folder of its own. A body is on the disk before `put`
 * resolves, and appears under its name as a whole. The mark of the folder holds an id, which the
 * references carry: a body is gone only if the folder with this id is there; else the store is
 * away. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function fileBodies(options: FileBodiesOptions): BodyStore {
  checkOptions('fileBodies', options, ['directory', 'create'])
  const { directory } = options
  if (typeof directory !== 'string' || directory === '')
    throw invalidOption('fileBodies.directory', 'expected the path of a folder')
  const markOf = markKeeper(directory, checkBoolean('fileBodies.create', options.create) ?? true)
  return {
    async put(key, body) {
      const place = await markOf()
      await write(join(directory, key), body)
      // The disk may have gone between the two: then the body is not where its reference says.
      if ((await readMark(directory)) !== place) throw anotherFolder()
      return place === undefined ? {} : { place }
    },
    get: (key, { signal, place }) => readIfThere({ directory, key, place }, signal),
    prune: (beforeDay) => removeDays(directory, beforeDay),
  }
}

/** Reads the mark before each write. The first body may make it; later ones find the same one. */
function markKeeper(directory: string, create: boolean): () => Promise<string | undefined> {
  let found = false
  let known: string | undefined
  return async () => {
    if (create && !found) await makeMark(directory)
    const mark = await readMark(directory)
    if (known !== undefined && mark !== known) throw anotherFolder()
    found = true
    known = mark
    return mark
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

interface Wanted {
  readonly directory: string
  readonly key: string
  /** The id of the folder that it was stored in, if that had one. */
  readonly place: string | undefined
}

async function readIfThere(
  { directory, key, place }: Wanted,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const path = join(directory, key)
  const found = await readFound(path, signal)
  if (found !== undefined) return found
  const mark = await readMark(directory)
  if (place !== undefined && mark !== place) throw anotherFolder()
  // It may have been mounted after the first look.
  return readFound(path, signal)
}

async function readFound(path: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path, { signal })
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined
    throw error
  }
}

async function removeDays(directory: string, beforeDay: string): Promise<number> {
  const days = (await readdir(directory)).filter((name) => DAY.test(name) && name < beforeDay)
  for (const day of days) await rm(join(directory, day), { recursive: true, force: true })
  return days.length
}
