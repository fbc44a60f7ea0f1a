import { access, mkdir, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { checkOptions, invalidOption } from '../core/options.ts'
import type { BodyStore } from './bodies.ts'

export interface FileBodiesOptions {
  /** Made when the first body is stored. All senders and receivers must see the same one. */
  readonly directory: string
}

/** Stands in the folder that was written to. Without it, another disk or none is there. */
const MARK = '.mersal-bodies'
const DAY = /^\d{4}-\d\d-\d\d$/

/**
 * Keeps bodies as files, each day in a folder of its own. A body is on the disk before `put`
 * resolves, and appears under its name as a whole. A body is gone only if the mark of the folder is
 * there; else the store is away. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function fileBodies(options: FileBodiesOptions): BodyStore {
  checkOptions('fileBodies', options, ['directory'])
  const { directory } = options
  if (typeof directory !== 'string' || directory === '')
    throw invalidOption('fileBodies.directory', 'expected the path of a folder')
  let marked = false
  return {
    async put(key, body) {
      await (marked ? checkMark(directory) : mark(directory))
      marked = true
      await write(join(directory, key), body)
    },
    get: (key, { signal }) => readIfThere(directory, key, signal),
    prune: (beforeDay) => removeDays(directory, beforeDay),
  }
}

/** The first body may make the folder; later ones find it as it was. */
async function mark(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, MARK), '', { flag: 'a' })
}

async function checkMark(directory: string): Promise<void> {
  try {
    await access(join(directory, MARK))
  } catch (cause) {
    const text = `the folder of fileBodies() is not there, or without its mark ${MARK}: mount the disk that was written to`
    throw new Error(text, { cause })
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

async function readIfThere(
  directory: string,
  key: string,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  try {
    return await readFile(join(directory, key), { signal })
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    await checkMark(directory)
    return undefined
  }
}

async function removeDays(directory: string, beforeDay: string): Promise<number> {
  const days = (await readdir(directory)).filter((name) => DAY.test(name) && name < beforeDay)
  for (const day of days) await rm(join(directory, day), { recursive: true, force: true })
  return days.length
}
