import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const FOLDER = join(import.meta.dirname, '../../node_modules/.cache/servers')

export interface Template {
  /** Everything that decides what the folder holds: programs, versions, options. */
  readonly key: readonly string[]
  /** Makes the folder. */
  readonly make: () => Promise<void>
  /** Copies a folder with its owners. */
  readonly copy: (from: string, to: string) => Promise<unknown>
}

/**
 * Makes `folder` by copying one that was made before with the same key; the first call makes it and
 * keeps a copy. Processes may do so at the same time: whoever comes first wins.
 */
export async function fromTemplate(folder: string, template: Template): Promise<void> {
  const name = createHash('sha256').update(JSON.stringify(template.key)).digest('hex').slice(0, 16)
  const kept = join(FOLDER, name)
  if (existsSync(kept)) {
    await template.copy(kept, folder)
    return
  }
  await template.make()
  await mkdir(dirname(kept), { recursive: true })
  const own = `${kept}.${process.pid}`
  await template.copy(folder, own)
  await rename(own, kept).catch(() => rm(own, { recursive: true, force: true })) // another was first
}
