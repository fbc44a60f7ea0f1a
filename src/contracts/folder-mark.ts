import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isUuid } from '../lib/uuid.ts'

/** Stands in a folder of bodies, and holds its id. Without it, another disk or none is there. */
const MARK = '.mersal-bodies'

/** The id that the mark of this folder holds; undefined if it is empty. Throws if there is none. */
export async function readMark(directory: string): Promise<string | undefined> {
  let id: string
  try {
    id = (await readFile(join(directory, MARK), 'utf8')).trim()
  } catch (cause) {
    throw away(`is not there, or without its mark ${MARK}`, cause)
  }
  if (id === '') return undefined
  if (!isUuid(id)) throw away(`has a mark ${MARK} that holds no UUID`)
  return id.toLowerCase()
}

/** Gives the folder a mark unless it has one, and makes the folder. */
export async function makeMark(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  try {
    const file = await open(join(directory, MARK), 'wx')
    try {
      await file.writeFile(`${crypto.randomUUID()}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST') throw error
  }
  await syncFolder(directory)
}

/** The folder is not the one that is meant. */
export function anotherFolder(): Error {
  return away(`has the mark ${MARK} of another one`)
}

function away(what: string, cause?: unknown): Error {
  const text = `the folder of fileBodies() ${what}: mount the disk that was written to`
  return new Error(text, cause === undefined ? {} : { cause })
}

/** The names in a folder are durable only after this. Windows has no such thing. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
