import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** One place in one file of the source, and what stands there instead. */
export interface Change {
  readonly file: string
  readonly from: string
  readonly to: string
}

/** The text of the file with the bug in it. Throws unless its place occurs once. */
export async function planted(name: string, folder: string, change: Change): Promise<string> {
  const text = await readFile(join(folder, change.file), 'utf8')
  const places = text.split(change.from).length - 1
  if (places !== 1) throw new Error(`${name}: its place occurs ${places} times in ${change.file}`)
  return text.replace(change.from, () => change.to)
}
